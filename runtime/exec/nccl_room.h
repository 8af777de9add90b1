// NcclRoom: what one communicator works in and nobody else ever does: a stream, an event, and buffers for input and
// result. Ownership: shared, also by calls of NCCL that use it. Dropping it waits for the step at hand, so who cannot
// be sure that this ends keeps it. Threading: one user at a time.
#pragma once

#include <memory>

#include "base/result.h"
#include "kernels/device/device.h"

namespace regroup {

struct NcclRoom {
  static Result<std::shared_ptr<NcclRoom>> make(std::shared_ptr<device::Device> device);
  ~NcclRoom();
  // False: no such memory. What was in it goes.
  bool reserve(std::size_t in_bytes, std::size_t out_bytes);

  struct Buffer {
    std::byte* at = nullptr;
    std::size_t bytes = 0;
  };
  std::shared_ptr<device::Device> device;
  std::unique_ptr<device::Stream> stream;
  std::unique_ptr<device::Event> done;
  // The host reads and writes them, and NCCL: pinned memory on the host device. A GPU will need device memory and
  // copies.
  Buffer in, out;

 private:
  bool grow(Buffer& buffer, std::size_t bytes);
};

}  // namespace regroup

// A rank's buffers on its group's device (Options::device): memory there, as much pinned memory here, which is filled and
// checked, and the stream that carries between the two and that the ops are called with. The host touches the pinned side only.
//
// Ownership: memory and stream; holds the device. Freed before the group leaves; memory that the stream has not done with by
// then is left to the process's end. One thread. After a failure (a lost device) every call says so.
#pragma once

#include <memory>
#include <vector>

#include "kernels/device/device.h"
#include "regroup/regroup.h"

namespace regroup::bench {

class DeviceSide {
 public:
  // `device`: Group::device(); null is kConfig. `bound_s`: of every wait.
  static Result<std::unique_ptr<DeviceSide>> make(std::shared_ptr<device::Device> device, double bound_s);
  ~DeviceSide();
  DeviceSide(const DeviceSide&) = delete;
  DeviceSide& operator=(const DeviceSide&) = delete;

  // Memory there, zeroed like its pinned side. kNoMemory.
  Result<void*> allocate(std::size_t bytes);
  // The pinned side of a place in that memory; null: it is none of it.
  [[nodiscard]] void* here(const void* there) const;
  // Carries `bytes` from here to there, or back; returns when they stand.
  Status put(const void* there, std::size_t bytes);
  Status fetch(const void* there, std::size_t bytes);
  // Waits until the stream has done all that it was given. kTimeout.
  Status finish();

  [[nodiscard]] device::Stream& stream() { return *stream_; }
  [[nodiscard]] void* native() const { return stream_->native(); }
  [[nodiscard]] const char* name() const { return device_->name(); }

 private:
  DeviceSide(std::shared_ptr<device::Device> device, double bound_s) : device_(std::move(device)), bound_s_(bound_s) {}
  struct Memory {
    std::byte *there = nullptr, *here = nullptr;
    std::size_t bytes = 0;
  };
  Status bounded_finish(double bound_s);

  const std::shared_ptr<device::Device> device_;
  const double bound_s_;
  std::unique_ptr<device::Stream> stream_;
  std::vector<Memory> memory_;
};

}  // namespace regroup::bench

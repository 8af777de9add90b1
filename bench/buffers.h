// The input and output buffer of a rank: private (as malloc gives them), registered with the group, or on its device.
// Owned by the object; freed before the group. One thread.
#pragma once

#include <cstddef>
#include <memory>

#include "bench/device_side.h"
#include "regroup/regroup.h"

namespace regroup::bench {

enum class Where : std::uint8_t { kPrivate, kRegistered, kDevice };

class Buffers {
 public:
  Buffers() = default;
  ~Buffers();
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  // Both at least `bytes` long, every page touched. kNoMemory when there is not that much. kDevice: of a group with a device.
  Status allocate(Group& group, std::size_t in_bytes, std::size_t out_bytes, Where where);
  [[nodiscard]] void* in() const { return in_; }
  [[nodiscard]] void* out() const { return out_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }  // of both
  [[nodiscard]] DeviceSide* side() const { return side_.get(); }  // null: the buffers are host memory

 private:
  Result<void*> allocate_one(Group& group, std::size_t bytes, Where where);

  Group* group_ = nullptr;  // of registered memory
  std::unique_ptr<DeviceSide> side_;  // owns memory on a device
  void* in_ = nullptr;
  void* out_ = nullptr;
  std::size_t bytes_ = 0;
};

// True when the memory at `address` lies on 2 MiB pages (read from /proc/self/smaps).
bool on_huge_pages(const void* address);

}  // namespace regroup::bench

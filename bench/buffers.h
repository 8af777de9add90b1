// The input and output buffer of a rank, private (as malloc gives them) or registered with the group.
// Owned by the object; freed before the group. One thread.
#pragma once

#include <cstddef>

#include "regroup/regroup.h"

namespace regroup::bench {

class Buffers {
 public:
  Buffers() = default;
  ~Buffers();
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;

  // Both at least `bytes` long, every page touched. kNoMemory when there is not that much.
  Status allocate(Group& group, std::size_t in_bytes, std::size_t out_bytes, bool registered);
  [[nodiscard]] void* in() const { return in_; }
  [[nodiscard]] void* out() const { return out_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }  // of both

 private:
  Group* group_ = nullptr;  // of registered memory
  void* in_ = nullptr;
  void* out_ = nullptr;
  std::size_t bytes_ = 0;
};

// True when the memory at `address` lies on 2 MiB pages (read from /proc/self/smaps).
bool on_huge_pages(const void* address);

}  // namespace regroup::bench

// LentMemory: device memory of the host device: a file without a name, so that other processes of this host can open it by a
// Loan (as CUDA IPC opens a GPU's), and keep what they opened when its owner dies.
// Ownership: a resource; it moves, and what was opened is independent of its lender's. Any thread; no locks inside.
#pragma once

#include "base/fd.h"
#include "kernels/device/device.h"

namespace regroup::device {

class LentMemory {
 public:
  static LentMemory make(std::size_t bytes);  // data() is null: no such memory
  // Read only. kUnsupported: no ticket of a host device; kUnavailable: its owner is gone, or has freed it.
  static Result<LentMemory> open(const Loan& loan);
  LentMemory() = default;
  LentMemory(LentMemory&& other) noexcept;
  LentMemory& operator=(LentMemory&& other) noexcept;
  ~LentMemory();

  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] Loan loan(std::size_t offset) const;

 private:
  Fd file_;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0, bytes_ = 0;
};

}  // namespace regroup::device

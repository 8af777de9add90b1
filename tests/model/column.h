// Column: one number for each of very many states, append-only, in blocks, so that growing it copies nothing and a
// search of hundreds of millions of states needs no more memory than it holds. Single owner, single thread.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace regroup::model {

template <class T>
class Column {
 public:
  void push_back(const T& value) {
    if (size_ % kBlock == 0) blocks_.push_back(std::make_unique_for_overwrite<T[]>(kBlock));
    blocks_[size_ / kBlock][size_ % kBlock] = value;
    ++size_;
  }
  const T& operator[](std::size_t i) const { return blocks_[i / kBlock][i % kBlock]; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kBlock = 1u << 20;
  std::vector<std::unique_ptr<T[]>> blocks_;
  std::size_t size_ = 0;
};

}  // namespace regroup::model

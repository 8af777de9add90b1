// NetStaging: memory that received bytes and results stand in. Outlives epochs, so that a view change pays for no page.
// Large blocks are 2 MiB pages where the kernel gives them. Ownership: a Block is owned by its holder until it is given
// back. Thread-safe. Out of memory: take() returns an empty Block.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace regroup {

class NetStaging {
 public:
  using Memory = std::shared_ptr<std::byte>;
  struct Block {
    Memory memory;
    std::size_t bytes = 0;
  };
  // At least `bytes`; contents undefined.
  Block take(std::size_t bytes);
  void give(Block block);

 private:
  std::mutex mutex_;
  std::vector<Block> free_;
};

}  // namespace regroup

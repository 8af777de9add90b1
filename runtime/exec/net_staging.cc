#include "runtime/exec/net_staging.h"

#include <sys/mman.h>

#include <algorithm>

namespace regroup {
namespace {

constexpr std::size_t kPage = 4096, kHugePage = 2u << 20;
constexpr std::size_t kMaxFree = 64;

NetStaging::Block make(std::size_t bytes) {
  const std::size_t unit = bytes >= kHugePage ? kHugePage : kPage;
  bytes = (std::max<std::size_t>(bytes, 1) + unit - 1) / unit * unit;
  const std::size_t mapped = bytes + (unit == kHugePage ? kHugePage : 0);  // room to begin at a huge page
  void* at = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return {};
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  auto* begin = reinterpret_cast<std::byte*>((address + unit - 1) / unit * unit);
  if (unit == kHugePage) ::madvise(begin, bytes, MADV_HUGEPAGE);
  return {NetStaging::Memory(begin, [at, mapped](std::byte*) { ::munmap(at, mapped); }), bytes};
}

}  // namespace

NetStaging::Block NetStaging::take(std::size_t bytes) {
  Block block;
  {
    std::lock_guard lock(mutex_);
    auto best = free_.end();  // the smallest that is large enough
    for (auto it = free_.begin(); it != free_.end(); ++it)
      if (it->bytes >= bytes && (best == free_.end() || it->bytes < best->bytes)) best = it;
    if (best != free_.end()) {
      block = std::move(*best);
      free_.erase(best);
    }
  }
  if (!block.memory) block = make(bytes);
  return block;
}

void NetStaging::give(Block block) {
  if (!block.memory) return;
  std::lock_guard lock(mutex_);
  if (free_.size() < kMaxFree) free_.push_back(std::move(block));
}

}  // namespace regroup

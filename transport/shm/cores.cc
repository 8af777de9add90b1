#include "transport/shm/cores.h"

#include <sched.h>

#include <algorithm>
#include <bit>

namespace regroup::shm {

void add_own_cores(CoreLine& mine) {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return;  // more cores than fit: as many as others know of
  for (std::size_t c = 0; c < 64 * std::size(mine.mask); ++c)
    if (CPU_ISSET(c, &set)) mine.mask[c / 64].fetch_or(1ull << c % 64, std::memory_order_relaxed);
}

std::size_t count_cores(std::span<const CoreLine* const> members) {
  std::size_t count = 0;
  for (std::size_t w = 0; w < std::size(CoreLine{}.mask); ++w) {
    std::uint64_t any = 0;
    for (const CoreLine* line : members) any |= line->mask[w].load(std::memory_order_relaxed);
    count += static_cast<std::size_t>(std::popcount(any));
  }
  return std::max<std::size_t>(count, 1);
}

}  // namespace regroup::shm

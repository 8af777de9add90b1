// XXH3 64 of many bytes, by the widest vectors that this processor has. The same number by any of them, so members that
// run on different processors agree. Internal to transport/wire. Threading: none to mind; fails never.
#pragma once

#include <cstddef>
#include <cstdint>

namespace regroup::wire {

using SumFunction = std::uint64_t (*)(const void*, std::size_t);

// Compiled for wider vectors than the rest: to be called only where `supported` says so. nullptr: not on this architecture.
struct WideSum {
  const char* name;
  SumFunction sum;
  bool supported;
};
inline constexpr std::size_t kWideSums = 2;
[[nodiscard]] WideSum wide_sum(std::size_t index);  // the widest first
std::uint64_t plain_sum(const void* bytes, std::size_t count);
// The widest that is supported here, found once.
[[nodiscard]] SumFunction best_sum();

}  // namespace regroup::wire

#include "transport/wire/sum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "transport/wire/sum_wide.h"

namespace regroup::wire {

WideSum wide_sum(std::size_t index) {
#if defined(__x86_64__)
  if (index == 0) return {"avx512", regroup_xxh3_avx512, __builtin_cpu_supports("avx512f") != 0};
  return {"avx2", regroup_xxh3_avx2, __builtin_cpu_supports("avx2") != 0};
#else
  return {index == 0 ? "avx512" : "avx2", nullptr, false};
#endif
}

std::uint64_t plain_sum(const void* bytes, std::size_t count) { return XXH3_64bits(bytes, count); }

SumFunction best_sum() {
  static const SumFunction best = [] {
    for (std::size_t i = 0; i < kWideSums; ++i)
      if (const WideSum wide = wide_sum(i); wide.supported) return wide.sum;
    return SumFunction{plain_sum};
  }();
  return best;
}

}  // namespace regroup::wire

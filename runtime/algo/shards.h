// Shards: how a vector is divided over the members of a view. Pure; part of the plan, so the same at every member.
#pragma once

#include <algorithm>
#include <cstddef>

namespace regroup::algo {

struct Range {
  std::size_t begin = 0;  // in elements
  std::size_t end = 0;
  [[nodiscard]] std::size_t size() const { return end - begin; }
};

// The part of `count` elements that member i of n reduces. Boundaries are multiples of 64 elements (whole cache lines
// for every type, if the buffer is aligned), so trailing members may get nothing when count is small. Covers [0,
// count).
inline Range shard_range(std::size_t count, std::size_t n, std::size_t i) {
  constexpr std::size_t kGrain = 64;
  const std::size_t grains = (count + kGrain - 1) / kGrain;
  const std::size_t base = grains / n, extra = grains % n;
  const std::size_t first = i * base + std::min(i, extra);
  const std::size_t mine = base + (i < extra ? 1 : 0);
  return {std::min(first * kGrain, count), std::min((first + mine) * kGrain, count)};
}

}  // namespace regroup::algo

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

// Payload of a frame of a part so large: small enough that receive, fold and send of one part overlap, large enough to pay
// for a frame. A multiple of every type.
inline std::size_t chunk_of(std::size_t part) {
  constexpr std::size_t kMost = 1u << 20, kLeast = 64u << 10;
  return std::clamp(part / 8 / kLeast * kLeast, kLeast, kMost);
}

}  // namespace regroup::algo

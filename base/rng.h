// SplitMix64 (Steele, Lea, Flood 2014): a seeded generator for tests, simulation and jitter; and random ids from the kernel.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace regroup {

class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  // Uniform in [0, n), n > 0 (the modulo bias is below 2^-32 for the n used here).
  std::uint64_t below(std::uint64_t n) { return next() % n; }

 private:
  std::uint64_t state_;
};

// From getrandom(2); never null. Aborts if the kernel has no randomness.
[[nodiscard]] std::uint64_t random_u64();
[[nodiscard]] Incarnation random_incarnation();

}  // namespace regroup

// SplitMix64 (Steele, Lea, Flood 2014): the example's own seeded generator. The standard library's distributions may
// differ between implementations; this is the same everywhere, as every replica must draw the same numbers. A value.
#pragma once

#include <cstdint>

namespace digits {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  // Uniform in [0, n), n > 0 (the modulo bias is below 2^-40 for the n used here).
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  // Uniform in [-1, 1): 24 random bits, exact in a float.
  float symmetric() { return static_cast<float>(next() >> 40) * 0x1p-23f - 1.0f; }

 private:
  std::uint64_t state_;
};

}  // namespace digits

// The finaliser of SplitMix64 and the step of the keys, of which digests are made (lists.h).
#pragma once

#include <cstdint>

namespace regroup::kernels::host {

inline constexpr std::uint64_t kKeyStep = 0x9e3779b97f4a7c15ull;
inline constexpr std::uint64_t kFirstFactor = 0xbf58476d1ce4e5b9ull;
inline constexpr std::uint64_t kSecondFactor = 0x94d049bb133111ebull;

constexpr std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * kFirstFactor;
  z = (z ^ (z >> 27)) * kSecondFactor;
  return z ^ (z >> 31);
}

}  // namespace regroup::kernels::host

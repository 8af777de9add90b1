// Inputs for tests of the kernels, from a seed: small integers (every sum is exact in any order), random values of
// similar size (roundings, ties), and random bits mixed with the values where arithmetic has corners.
#pragma once

#include <vector>

#include "base/dtype.h"
#include "base/rng.h"
#include "tests/kernels/reference.h"

namespace regroup::testing {

enum class Flavour { kSmallIntegers, kSimilar, kCorners };
inline constexpr Flavour kFlavours[] = {Flavour::kSmallIntegers, Flavour::kSimilar, Flavour::kCorners};

Buffer make_input(DataType type, Flavour flavour, std::size_t count, Rng& rng);
std::vector<Buffer> make_inputs(DataType type, Flavour flavour, std::size_t count, std::size_t k, std::uint64_t seed);

Buffer random_bytes(std::size_t n, std::uint64_t seed);

}  // namespace regroup::testing

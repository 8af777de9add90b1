// Inputs whose result is exact in any order of folding (small integers), different for every element, rank and
// iteration, so that every check is bitwise and a stale or missing shard shows. Pure; buffers are the caller's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "bench/reduction.h"

namespace regroup::bench {

// One iteration's inputs. `ranks` bounds the values, so that a sum over that many stays exact in `type`.
struct Pattern {
  DataType type = DataType::kF32;
  Reduction op;
  std::uint64_t seed = 0;  // of the iteration: other seeds give other inputs
  std::uint32_t ranks = 1;
};

// Writes the input of `rank`.
void fill(const Pattern& pattern, std::uint32_t rank, void* out, std::size_t count);

// Elements of `got` that are not, bit for bit, the fold over elements `first` and on of the contributors' inputs (one
// contributor: its input itself).
std::uint64_t count_wrong(const Pattern& pattern, std::span<const std::uint32_t> contributors, const void* got,
                          std::size_t count, std::size_t first = 0);

// The scalar of a rank's pre-multiplied sum, as an element of the type.
std::array<std::byte, 8> scalar_element(DataType type, std::uint32_t rank);

// Overwrites memory with bytes that no input or result has.
void poison(void* memory, std::size_t bytes);

// Bytes that are no longer poison.
std::uint64_t count_touched(const void* memory, std::size_t bytes);

}  // namespace regroup::bench

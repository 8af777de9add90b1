// Counts, shapes and factors that several collectives share. Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "bench/collective.h"

namespace regroup::bench {

inline std::size_t whole_count(std::size_t elements, std::size_t, std::size_t) { return elements; }

// A block of a size split among the ranks, rounded down to 16 bytes as nccl-tests does: 0 for very small sizes.
inline std::size_t block_count(std::size_t elements, std::size_t type_size, std::size_t ranks) {
  const std::size_t unit = 16 / type_size;
  return elements / ranks / unit * unit;
}

// In place a block lies where the member's block lies.
inline Shape gather_shape(std::size_t count, std::size_t ranks, std::size_t self) {
  return {count, count * ranks, count * self, 0};
}
inline Shape scatter_shape(std::size_t count, std::size_t ranks, std::size_t self) {
  return {count * ranks, count, 0, count * self};
}
inline Shape equal_shape(std::size_t count, std::size_t, std::size_t) { return {count, count, 0, 0}; }

inline double full_factor(std::size_t) { return 1; }
inline double others_factor(std::size_t ranks) { return static_cast<double>(ranks - 1) / static_cast<double>(ranks); }

// A block from every member, in member order, beginning at element `in_at` of its input.
inline std::vector<Part> block_of_each(std::size_t count, std::size_t ranks, std::size_t in_at) {
  std::vector<Part> out;
  for (std::size_t j = 0; j < ranks; ++j) out.push_back({j * count, count, in_at, j});
  return out;
}

}  // namespace regroup::bench

// A second, independent definition of what reduce() computes: element by element, in long hand, with no code in common
// with the kernels. Slow.
#pragma once

#include <cstdint>
#include <vector>

#include "base/dtype.h"

namespace regroup::testing {

using Buffer = std::vector<std::uint8_t>;

// Folds sources[0] .. sources[k-1], all of the same size.
Buffer reference_reduce(DataType type, ReduceOp op, const std::vector<Buffer>& sources);

// 16-bit floats by their definition: sign, exponent bits, mantissa bits.
struct SmallFloat {
  int exponent_bits;
  int mantissa_bits;
  [[nodiscard]] double decode(std::uint16_t bits) const;
  [[nodiscard]] std::uint16_t encode(double value) const;  // to nearest even; NaN gives the quiet one without payload
};
inline constexpr SmallFloat kHalf{5, 10};
inline constexpr SmallFloat kBrain{8, 7};

}  // namespace regroup::testing

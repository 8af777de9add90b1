// Small integers as elements of every type, and their folds: what checks of results are made of. Only integers that the
// type holds exactly are asked for, so a fold is right in any order and every comparison is of bits. Pure.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/dtype.h"

namespace regroup::chaos {

// How 16-bit floats lie in memory.
struct Half {
  std::uint16_t bits;
};
struct Bfloat16 {
  std::uint16_t bits;
};

template <typename T>
T encode(std::int64_t value) {
  return static_cast<T>(value);
}
template <>
inline Bfloat16 encode<Bfloat16>(std::int64_t value) {
  return {static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(value)) >> 16)};
}
template <>
inline Half encode<Half>(std::int64_t value) {
  if (value == 0) return {0};
  const bool negative = value < 0;
  const auto magnitude = static_cast<std::uint32_t>(negative ? -value : value);
  const int exponent = 31 - std::countl_zero(magnitude);
  const std::uint32_t mantissa =
      (exponent <= 10 ? magnitude << (10 - exponent) : magnitude >> (exponent - 10)) & 0x3ffu;
  return {static_cast<std::uint16_t>((negative ? 0x8000u : 0u) | static_cast<std::uint32_t>(exponent + 15) << 10 |
                                     mantissa)};
}

// Calls f.operator()<T>() with the memory type of `type`.
template <typename F>
auto with_type(DataType type, F f) {
  switch (type) {
    case DataType::kF64: return f.template operator()<double>();
    case DataType::kF32: return f.template operator()<float>();
    case DataType::kF16: return f.template operator()<Half>();
    case DataType::kBF16: return f.template operator()<Bfloat16>();
    case DataType::kI8: return f.template operator()<std::int8_t>();
    case DataType::kU8: return f.template operator()<std::uint8_t>();
    case DataType::kI32: return f.template operator()<std::int32_t>();
    case DataType::kU32: return f.template operator()<std::uint32_t>();
    case DataType::kI64: return f.template operator()<std::int64_t>();
    case DataType::kU64: break;
  }
  return f.template operator()<std::uint64_t>();
}

// Of two; an average is a sum here, and divided at its end.
inline std::int64_t fold(ReduceOp op, std::int64_t a, std::int64_t b) {
  switch (op) {
    case ReduceOp::kProd: return a * b;
    case ReduceOp::kMin: return std::min(a, b);
    case ReduceOp::kMax: return std::max(a, b);
    default: return a + b;
  }
}

}  // namespace regroup::chaos

#include "tests/kernels/reference.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

namespace regroup::testing {
namespace {

template <class T>
T get(const Buffer& b, std::size_t i) {
  T v;
  std::memcpy(&v, b.data() + i * sizeof(T), sizeof v);
  return v;
}
template <class T>
void put(Buffer& b, std::size_t i, T v) {
  std::memcpy(b.data() + i * sizeof(T), &v, sizeof v);
}

template <class T>
T fold_floats(ReduceOp op, const std::vector<T>& in) {
  T acc = in[0];
  for (std::size_t j = 1; j < in.size(); ++j) {
    const T x = in[j];
    switch (op) {
      case ReduceOp::kSum:
      case ReduceOp::kAvg: acc = acc + x; break;
      case ReduceOp::kProd: acc = acc * x; break;
      case ReduceOp::kMin:
      case ReduceOp::kMax: {
        const bool want_less = op == ReduceOp::kMin;
        if (std::isnan(acc) || std::isnan(x)) {
          acc = std::numeric_limits<T>::quiet_NaN();
        } else if (acc == 0 && x == 0) {
          const bool negative = want_less ? std::signbit(acc) || std::signbit(x) : std::signbit(acc) && std::signbit(x);
          acc = negative ? -T(0) : T(0);
        } else if (want_less ? x < acc : x > acc) {
          acc = x;
        }
        break;
      }
    }
  }
  if (op == ReduceOp::kAvg) acc = acc / static_cast<T>(in.size());
  return std::isnan(acc) ? std::numeric_limits<T>::quiet_NaN() : acc;
}

template <class T>
T fold_integers(ReduceOp op, const std::vector<T>& in) {
  __extension__ using Wide = __int128;
  constexpr Wide span = Wide{1} << (8 * sizeof(T));
  const auto wrap = [](Wide v) {  // into the range of T
    v = ((v % span) + span) % span;
    return v > Wide{std::numeric_limits<T>::max()} ? v - span : v;
  };
  Wide acc = in[0];
  for (std::size_t j = 1; j < in.size(); ++j) {
    const Wide x = in[j];
    switch (op) {
      case ReduceOp::kSum:
      case ReduceOp::kAvg: acc = wrap(acc + x); break;
      case ReduceOp::kProd:
        // 128 bits hold a product of two signed 64-bit numbers; of unsigned ones only modulo 2^128, which is enough.
        acc = std::is_same_v<T, std::uint64_t> ? Wide{static_cast<std::uint64_t>(acc) * static_cast<std::uint64_t>(x)}
                                               : wrap(acc * x);
        break;
      case ReduceOp::kMin: acc = x < acc ? x : acc; break;
      case ReduceOp::kMax: acc = x > acc ? x : acc; break;
    }
  }
  if (op == ReduceOp::kAvg) acc = acc / static_cast<Wide>(in.size());
  return static_cast<T>(acc);
}

template <class T>
Buffer all(ReduceOp op, const std::vector<Buffer>& sources) {
  Buffer out(sources[0].size());
  std::vector<T> in(sources.size());
  for (std::size_t i = 0; i < out.size() / sizeof(T); ++i) {
    for (std::size_t j = 0; j < in.size(); ++j) in[j] = get<T>(sources[j], i);
    if constexpr (std::is_floating_point_v<T>) {
      put(out, i, fold_floats(op, in));
    } else {
      put(out, i, fold_integers(op, in));
    }
  }
  return out;
}

Buffer all_small(const SmallFloat& format, ReduceOp op, const std::vector<Buffer>& sources) {
  Buffer out(sources[0].size());
  std::vector<float> in(sources.size());
  for (std::size_t i = 0; i < out.size() / 2; ++i) {
    for (std::size_t j = 0; j < in.size(); ++j) {
      in[j] = static_cast<float>(format.decode(get<std::uint16_t>(sources[j], i)));
    }
    put(out, i, format.encode(fold_floats(op, in)));
  }
  return out;
}

}  // namespace

double SmallFloat::decode(std::uint16_t bits) const {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = bits >> mantissa_bits & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  double size = 0;
  if (exponent == (1 << exponent_bits) - 1) {
    size = mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    size = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  } else {
    size = std::ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
  }
  return (bits & 0x8000) != 0 ? -size : size;
}

std::uint16_t SmallFloat::encode(double value) const {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int special = (1 << exponent_bits) - 1;
  if (std::isnan(value)) return static_cast<std::uint16_t>(special << mantissa_bits | 1 << (mantissa_bits - 1));
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const double size = std::fabs(value);
  if (size == 0) return static_cast<std::uint16_t>(sign);
  if (std::isinf(size)) return static_cast<std::uint16_t>(sign | special << mantissa_bits);
  int exponent = std::max(std::ilogb(size), 1 - bias);
  // In units of the last place: an exact double, rounded by the default mode, to nearest even.
  auto units = static_cast<int>(std::nearbyint(std::ldexp(size, mantissa_bits - exponent)));
  if (units == 2 << mantissa_bits) units /= 2, ++exponent;
  if (exponent > bias) return static_cast<std::uint16_t>(sign | special << mantissa_bits);
  const bool normal = units >= 1 << mantissa_bits;
  const int biased = normal ? exponent + bias : 0;
  return static_cast<std::uint16_t>(sign | biased << mantissa_bits | (units & ((1 << mantissa_bits) - 1)));
}

Buffer reference_reduce(DataType type, ReduceOp op, const std::vector<Buffer>& sources) {
  switch (type) {
    case DataType::kF64: return all<double>(op, sources);
    case DataType::kF32: return all<float>(op, sources);
    case DataType::kF16: return all_small(kHalf, op, sources);
    case DataType::kBF16: return all_small(kBrain, op, sources);
    case DataType::kI8: return all<std::int8_t>(op, sources);
    case DataType::kU8: return all<std::uint8_t>(op, sources);
    case DataType::kI32: return all<std::int32_t>(op, sources);
    case DataType::kU32: return all<std::uint32_t>(op, sources);
    case DataType::kI64: return all<std::int64_t>(op, sources);
    case DataType::kU64: return all<std::uint64_t>(op, sources);
  }
  return {};
}

}  // namespace regroup::testing

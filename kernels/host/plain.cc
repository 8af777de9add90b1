// The kernels in plain C++, element by element: for machines with none of our SIMD targets, and a second opinion in
// tests.
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/host/half.h"
#include "kernels/host/table.h"

namespace regroup::kernels::host {
namespace {

template <class T>
struct Exact {  // memory and accumulation in the same type
  using Memory = T;
  using Acc = T;
  static Acc widen(T v) { return v; }
  static T narrow(Acc v) { return v; }
};
struct F16 {
  using Memory = std::uint16_t;
  using Acc = float;
  static float widen(std::uint16_t v) { return f16_to_float(v); }
  static std::uint16_t narrow(float v) { return float_to_f16(v); }
};
struct BF16 {
  using Memory = std::uint16_t;
  using Acc = float;
  static float widen(std::uint16_t v) { return bf16_to_float(v); }
  static std::uint16_t narrow(float v) { return float_to_bf16(v); }
};

template <ReduceOp kOp, class T>
T step(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if constexpr (kOp == ReduceOp::kProd) return a * b;
    if constexpr (kOp == ReduceOp::kMin || kOp == ReduceOp::kMax) {
      if (a != a || b != b) return std::numeric_limits<T>::quiet_NaN();
      if (a == b) return std::signbit(a) == (kOp == ReduceOp::kMin) ? a : b;  // matters for zeros only
      return (a < b) == (kOp == ReduceOp::kMin) ? a : b;
    }
    return a + b;
  } else {
    using Wide = std::uint64_t;  // unsigned, so it wraps
    if constexpr (kOp == ReduceOp::kMin) return b < a ? b : a;
    if constexpr (kOp == ReduceOp::kMax) return a < b ? b : a;
    if constexpr (kOp == ReduceOp::kProd) return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b));
    return static_cast<T>(static_cast<Wide>(a) + static_cast<Wide>(b));
  }
}

template <class T>
T divide(T sum, std::size_t k) {
  if constexpr (std::is_floating_point_v<T>) return sum / static_cast<T>(k);
  if constexpr (std::is_signed_v<T>)
    return static_cast<T>(static_cast<std::int64_t>(sum) / static_cast<std::int64_t>(k));
  return static_cast<T>(static_cast<std::uint64_t>(sum) / k);
}

template <class Kind, ReduceOp kOp>
void reduce_elements(std::uint8_t* dst, const std::uint8_t* const* sources, std::size_t k, std::size_t bytes, bool) {
  using Memory = typename Kind::Memory;
  using Acc = typename Kind::Acc;
  const auto at = [](const std::uint8_t* p) {
    Memory v;
    std::memcpy(&v, p, sizeof v);
    return Kind::widen(v);
  };
  for (std::size_t i = 0; i < bytes; i += sizeof(Memory)) {
    Acc acc = at(sources[0] + i);
    for (std::size_t j = 1; j < k; ++j) acc = step<kOp>(acc, at(sources[j] + i));
    if constexpr (kOp == ReduceOp::kAvg) acc = divide(acc, k);
    if constexpr (std::is_floating_point_v<Acc>) {
      if (acc != acc) acc = std::numeric_limits<Acc>::quiet_NaN();  // one NaN for all, as in the SIMD kernels
    }
    const Memory out = Kind::narrow(acc);
    std::memcpy(dst + i, &out, sizeof out);
  }
}

template <class Kind>
Row row() {
  return {&reduce_elements<Kind, ReduceOp::kSum>, &reduce_elements<Kind, ReduceOp::kAvg>,
          &reduce_elements<Kind, ReduceOp::kProd>, &reduce_elements<Kind, ReduceOp::kMin>,
          &reduce_elements<Kind, ReduceOp::kMax>};
}

void copy_bytes(std::uint8_t* dst, const std::uint8_t* src, std::size_t bytes) { std::memcpy(dst, src, bytes); }

}  // namespace

Table scalar_table() {
  return {"scalar",
          {row<Exact<double>>(), row<Exact<float>>(), row<F16>(), row<BF16>(), row<Exact<std::int8_t>>(),
           row<Exact<std::uint8_t>>(), row<Exact<std::int32_t>>(), row<Exact<std::uint32_t>>(),
           row<Exact<std::int64_t>>(), row<Exact<std::uint64_t>>()},
          &copy_bytes,
          &plain_digest,
          {&plain_quantise<Code8::kFp8>, &plain_quantise<Code8::kInt8>},
          {&plain_dequantise_add<Code8::kFp8>, &plain_dequantise_add<Code8::kInt8>}};
}

}  // namespace regroup::kernels::host

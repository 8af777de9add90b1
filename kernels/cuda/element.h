// One element of each type: from its stored bits to the type it is folded in, one step of a fold, and back; as
// kernels.h says, so that the bits are those of the host's kernels. For nvcc and, in tests, for the host compiler.
// Compile without fused multiply-add (-fmad=false).
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "base/dtype.h"
#include "kernels/host/half.h"

#ifdef __CUDACC__
#define RG_BOTH __host__ __device__ __forceinline__
#ifdef __CUDA_ARCH__
#include <cuda_fp16.h>
#endif
#else
#define RG_BOTH inline
#endif

namespace regroup::kernels::cuda {

// f64, f32 and integers: folded as they are (integers wrap: as unsigned).
template <class T>
struct PlainElement {
  using Raw = T;
  using Acc = T;
  static RG_BOTH Acc widen(Raw x) { return x; }
  static RG_BOTH Raw narrow(Acc x) { return x; }
};
struct F16Element {
  using Raw = std::uint16_t;
  using Acc = float;
#ifdef __CUDA_ARCH__
  static __device__ __forceinline__ Acc widen(Raw x) { return __half2float(__ushort_as_half(x)); }
  static __device__ __forceinline__ Raw narrow(Acc x) {
    return x == x ? __half_as_ushort(__float2half_rn(x)) : static_cast<Raw>(0x7e00);
  }
#else
  static RG_BOTH Acc widen(Raw x) { return host::f16_to_float(x); }
  static RG_BOTH Raw narrow(Acc x) { return x == x ? host::float_to_f16(x) : static_cast<Raw>(0x7e00); }
#endif
};
struct BF16Element {
  using Raw = std::uint16_t;
  using Acc = float;
  static RG_BOTH Acc widen(Raw x) { return host::bf16_to_float(x); }
  static RG_BOTH Raw narrow(Acc x) { return host::float_to_bf16(x); }
};

template <DataType kType>
struct ElementOf;
template <>
struct ElementOf<DataType::kF64> : PlainElement<double> {};
template <>
struct ElementOf<DataType::kF32> : PlainElement<float> {};
template <>
struct ElementOf<DataType::kF16> : F16Element {};
template <>
struct ElementOf<DataType::kBF16> : BF16Element {};
template <>
struct ElementOf<DataType::kI8> : PlainElement<std::int8_t> {};
template <>
struct ElementOf<DataType::kU8> : PlainElement<std::uint8_t> {};
template <>
struct ElementOf<DataType::kI32> : PlainElement<std::int32_t> {};
template <>
struct ElementOf<DataType::kU32> : PlainElement<std::uint32_t> {};
template <>
struct ElementOf<DataType::kI64> : PlainElement<std::int64_t> {};
template <>
struct ElementOf<DataType::kU64> : PlainElement<std::uint64_t> {};

RG_BOTH bool negative(float x) { return std::bit_cast<std::uint32_t>(x) >> 31 != 0; }
RG_BOTH bool negative(double x) { return std::bit_cast<std::uint64_t>(x) >> 63 != 0; }

// A NaN if either is one; -0 < +0.
template <class T>
RG_BOTH T smaller(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a != a) return a;
    if (b != b) return b;
    return a < b || (a == b && negative(a)) ? a : b;
  } else {
    return a < b ? a : b;
  }
}
template <class T>
RG_BOTH T larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a != a) return a;
    if (b != b) return b;
    return a > b || (a == b && !negative(a)) ? a : b;
  } else {
    return a > b ? a : b;
  }
}

template <ReduceOp kOp, class T>
RG_BOTH T step(T a, T b) {
  if constexpr (kOp == ReduceOp::kMin) return smaller(a, b);
  if constexpr (kOp == ReduceOp::kMax) return larger(a, b);
  constexpr bool kProduct = kOp == ReduceOp::kProd;
  if constexpr (std::is_floating_point_v<T>) {
    return kProduct ? a * b : a + b;
  } else {  // through 32 or 64 unsigned bits: what is promoted to int must not overflow
    using U = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
    const U x = static_cast<U>(a), y = static_cast<U>(b);
    return static_cast<T>(kProduct ? x * y : x + y);
  }
}

// One NaN for all: which payload survives an addition is nobody's promise.
template <class T>
RG_BOTH T canonical(T x) {
  if constexpr (std::is_same_v<T, float>) return x == x ? x : std::bit_cast<float>(std::uint32_t{0x7fc00000});
  if constexpr (std::is_same_v<T, double>) return x == x ? x : std::bit_cast<double>(std::uint64_t{0x7ff8000000000000});
  return x;
}

// x / by, as kernels::divide: floats in their own type, integers truncated toward zero.
template <class T>
RG_BOTH T quotient(T x, std::uint32_t by) {
  if constexpr (std::is_floating_point_v<T>) return x / static_cast<T>(by);
  if constexpr (std::is_same_v<T, std::uint64_t>) return x / by;
  return static_cast<T>(static_cast<std::int64_t>(x) / static_cast<std::int64_t>(by));
}

}  // namespace regroup::kernels::cuda

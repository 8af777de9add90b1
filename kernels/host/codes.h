// The codes of quantise.h, one element at a time; for the plain C++ kernels and for those of CUDA (nvcc takes constexpr
// functions for the device).
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "kernels/quantise.h"

namespace regroup::kernels::host {

inline constexpr int kBias = 127;
inline constexpr std::uint8_t kNaNScale = 0xff;
inline constexpr std::uint16_t kInfinity = 0x7f80;  // magnitudes of bf16 from here on are no numbers

// 2^(scale - 127); 2^-127 is subnormal.
constexpr float scale_of(std::uint8_t scale) {
  if (scale == kNaNScale) return std::numeric_limits<float>::quiet_NaN();
  return scale > 0 ? std::bit_cast<float>(static_cast<std::uint32_t>(scale) << 23) : 0x1p-127f;
}

// x / 2^e, exactly (in double: no over- or underflow on the way).
constexpr float divided(float x, int e) {
  return static_cast<float>(static_cast<double>(x) * std::bit_cast<double>(static_cast<std::uint64_t>(1023 - e) << 52));
}

// Least e in [-127, 127] with m <= largest * 2^e, for a magnitude m of bf16 (its bits; finite), where largest is
// 1.75 * 2^8 (fp8) or 127 = 1.984375 * 2^6 (int8).
constexpr int exponent_for(std::uint16_t m, Code8 code) {
  if (m == 0) return -127;
  int exponent = (m >> 7) - kBias;  // m = (1 + mantissa / 128) * 2^exponent
  std::uint32_t mantissa = m & 0x7fu;
  if (m < 0x80) {  // subnormal
    exponent = -126;
    while ((mantissa & 0x80) == 0) mantissa <<= 1, --exponent;
    mantissa &= 0x7f;
  }
  const bool fp8 = code == Code8::kFp8;
  const int e = exponent - (fp8 ? 8 : 6) + (mantissa > (fp8 ? 96u : 126u) ? 1 : 0);
  return e < -127 ? -127 : e;
}

// To e4m3, to nearest even; |v| <= 448.
constexpr std::uint8_t to_fp8(float v) {
  const auto u = std::bit_cast<std::uint32_t>(v);
  const auto sign = static_cast<std::uint8_t>(u >> 24 & 0x80);
  const std::uint32_t size = u & 0x7fffffff;
  std::uint32_t code = 0;
  if (size >= 0x3c800000) {  // 2^-6 and more: normal; rounding may carry into the exponent
    code = ((size + 0x7ffff + (size >> 20 & 1)) >> 20) - (120u << 3);
  } else {  // units of 2^-9: in [2^14, 2^15) a float counts them
    code = std::bit_cast<std::uint32_t>(std::bit_cast<float>(size) + 0x1p14f) - std::bit_cast<std::uint32_t>(0x1p14f);
  }
  return static_cast<std::uint8_t>(sign | code);
}

constexpr float from_fp8(std::uint8_t code) {
  const std::uint32_t size = code & 0x7f, sign = static_cast<std::uint32_t>(code & 0x80) << 24;
  const float v = size == 0x7f ? std::numeric_limits<float>::quiet_NaN()
                               : std::bit_cast<float>(size << 20) * 0x1p120f;  // also where it is subnormal
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) | sign);
}

// To nearest even; |v| <= 127: in [2^23, 2^24) a float counts ones.
constexpr std::uint8_t to_int8(float v) {
  const float whole = v < 0 ? -((-v + 0x1p23f) - 0x1p23f) : (v + 0x1p23f) - 0x1p23f;
  return static_cast<std::uint8_t>(static_cast<std::int8_t>(whole));
}
constexpr float from_int8(std::uint8_t code) { return static_cast<float>(static_cast<std::int8_t>(code)); }

constexpr std::uint8_t encode(Code8 code, float v) { return code == Code8::kFp8 ? to_fp8(v) : to_int8(v); }
constexpr float decode(Code8 code, std::uint8_t c) { return code == Code8::kFp8 ? from_fp8(c) : from_int8(c); }

}  // namespace regroup::kernels::host

// Scalar f16 and bf16: to f32 (exact) and back, to nearest even; a NaN stays one. For the plain C++ kernels and for those of
// CUDA (nvcc takes constexpr functions for the device).
#pragma once

#include <bit>
#include <cstdint>

namespace regroup::kernels::host {

constexpr float bf16_to_float(std::uint16_t h) { return std::bit_cast<float>(static_cast<std::uint32_t>(h) << 16); }

constexpr std::uint16_t float_to_bf16(float v) {
  const auto u = std::bit_cast<std::uint32_t>(v);
  if (v != v) return static_cast<std::uint16_t>(u >> 16 | 0x40);
  return static_cast<std::uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

constexpr float f16_to_float(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h & 0x8000) << 16;
  const std::uint32_t size = h & 0x7fff;
  std::uint32_t u = size << 13 | 0x7f800000;  // infinity or NaN
  if (size < 0x7c00) u = std::bit_cast<std::uint32_t>(std::bit_cast<float>(size << 13) * 0x1p112f);
  return std::bit_cast<float>(u | sign);
}

constexpr std::uint16_t float_to_f16(float v) {
  const auto u = std::bit_cast<std::uint32_t>(v);
  const std::uint32_t size = u & 0x7fffffff;
  std::uint32_t h = 0;
  if (size > 0x7f800000) {
    h = 0x7e00;
  } else if (size >= 0x47800000) {  // 65536 and more
    h = 0x7c00;
  } else if (size >= 0x38800000) {  // normal; rounding may carry into the exponent, up to infinity
    h = ((size + 0xfff + (size >> 13 & 1)) >> 13) - (112u << 10);
  } else {  // subnormal: in [0.5, 1) a float counts units of 2^-24
    h = std::bit_cast<std::uint32_t>(std::bit_cast<float>(size) + 0.5f) - 0x3f000000;
  }
  return static_cast<std::uint16_t>(h | (u >> 16 & 0x8000));
}

}  // namespace regroup::kernels::host

#include "kernels/quantise.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/host/half.h"

namespace regroup::kernels {
namespace {

constexpr int kBias = 127;
constexpr std::uint8_t kNaNScale = 0xff;

// 2^e for e in [-127, 127]; 2^-127 is subnormal.
float power(int e) { return e > -127 ? std::bit_cast<float>(static_cast<std::uint32_t>(e + kBias) << 23) : 0x1p-127f; }

// x / 2^e, exactly (in double: no over- or underflow on the way).
float divided(float x, int e) {
  return static_cast<float>(static_cast<double>(x) * std::bit_cast<double>(static_cast<std::uint64_t>(1023 - e) << 52));
}

// Least e in [-127, 127] with m <= largest * 2^e, where largest is 1.75 * 2^8 (fp8) or 127 (int8). m >= 0, finite.
int exponent_for(float m, float largest) {
  int e = -127;
  if (m > 0) {
    int em = 0, el = 0;
    const float fm = std::frexp(m, &em), fl = std::frexp(largest, &el);  // in [0.5, 1)
    e = em - el + (fm > fl ? 1 : 0);
  }
  return std::clamp(e, -127, 127);
}

// To e4m3, to nearest even; |v| <= 448.
std::uint8_t to_fp8(float v) {
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

float from_fp8(std::uint8_t code) {
  const std::uint32_t size = code & 0x7f, sign = static_cast<std::uint32_t>(code & 0x80) << 24;
  const float v = size == 0x7f ? std::numeric_limits<float>::quiet_NaN()
                               : std::bit_cast<float>(size << 20) * 0x1p120f;  // also where it is subnormal
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(v) | sign);
}

std::uint8_t to_int8(float v) { return static_cast<std::uint8_t>(static_cast<std::int8_t>(std::nearbyintf(v))); }
float from_int8(std::uint8_t code) { return static_cast<float>(static_cast<std::int8_t>(code)); }

template <float (*From)(std::uint8_t)>
struct Values {  // of all codes
  float of[256];
  Values() {
    for (int c = 0; c < 256; ++c) of[c] = From(static_cast<std::uint8_t>(c));
  }
};

}  // namespace

void quantise(Code8 code, std::uint8_t* codes, std::uint8_t* scales, const void* bf16, std::size_t count) {
  const auto* from = static_cast<const std::byte*>(bf16);
  const float largest = code == Code8::kFp8 ? 448.0f : 127.0f;
  for (std::size_t at = 0; at < count; at += kScaleBlock) {
    const std::size_t n = std::min(kScaleBlock, count - at);
    std::uint16_t raw[kScaleBlock];
    std::memcpy(raw, from + at * 2, n * 2);
    std::uint16_t most = 0;  // magnitudes of bf16 are ordered as their bits
    for (std::size_t i = 0; i < n; ++i) most = std::max<std::uint16_t>(most, raw[i] & 0x7fff);
    if (most >= 0x7f80) {
      scales[at / kScaleBlock] = kNaNScale;
      std::memset(codes + at, 0, n);
      continue;
    }
    const int e = exponent_for(host::bf16_to_float(most), largest);
    scales[at / kScaleBlock] = static_cast<std::uint8_t>(e + kBias);
    for (std::size_t i = 0; i < n; ++i) {
      const float v = divided(host::bf16_to_float(raw[i]), e);
      codes[at + i] = code == Code8::kFp8 ? to_fp8(v) : to_int8(v);
    }
  }
}

void dequantise_add(Code8 code, float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count) {
  static const Values<from_fp8> fp8;
  static const Values<from_int8> int8;
  const float* value = code == Code8::kFp8 ? fp8.of : int8.of;
  for (std::size_t at = 0; at < count; at += kScaleBlock) {
    const std::size_t n = std::min(kScaleBlock, count - at);
    const std::uint8_t s = scales[at / kScaleBlock];
    const float scale = s == kNaNScale ? std::numeric_limits<float>::quiet_NaN() : power(static_cast<int>(s) - kBias);
    for (std::size_t i = 0; i < n; ++i) sum[at + i] += value[codes[at + i]] * scale;
  }
}

}  // namespace regroup::kernels

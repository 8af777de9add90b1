#include "kernels/quantise.h"

#include <algorithm>
#include <cstring>

#include "kernels/host/codes.h"
#include "kernels/host/half.h"

namespace regroup::kernels {
namespace {

using namespace host;

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
  for (std::size_t at = 0; at < count; at += kScaleBlock) {
    const std::size_t n = std::min(kScaleBlock, count - at);
    std::uint16_t raw[kScaleBlock];
    std::memcpy(raw, from + at * 2, n * 2);
    std::uint16_t most = 0;  // magnitudes of bf16 are ordered as their bits
    for (std::size_t i = 0; i < n; ++i) most = std::max<std::uint16_t>(most, raw[i] & 0x7fff);
    if (most >= kInfinity) {
      scales[at / kScaleBlock] = kNaNScale;
      std::memset(codes + at, 0, n);
      continue;
    }
    const int e = exponent_for(most, code);
    scales[at / kScaleBlock] = static_cast<std::uint8_t>(e + kBias);
    for (std::size_t i = 0; i < n; ++i) codes[at + i] = encode(code, divided(bf16_to_float(raw[i]), e));
  }
}

void dequantise_add(Code8 code, float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count) {
  static const Values<from_fp8> fp8;
  static const Values<from_int8> int8;
  const float* value = code == Code8::kFp8 ? fp8.of : int8.of;
  for (std::size_t at = 0; at < count; at += kScaleBlock) {
    const std::size_t n = std::min(kScaleBlock, count - at);
    const float scale = scale_of(scales[at / kScaleBlock]);
    for (std::size_t i = 0; i < n; ++i) sum[at + i] += value[codes[at + i]] * scale;
  }
}

}  // namespace regroup::kernels

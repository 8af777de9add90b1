// Digest and 8-bit codes in plain C++, element by element: the definition of their bits.
#include <algorithm>
#include <cstring>

#include "kernels/host/codes.h"
#include "kernels/host/half.h"
#include "kernels/host/mix.h"
#include "kernels/host/table.h"

namespace regroup::kernels::host {
namespace {

template <Code8 kCode>
struct Values {  // of all codes
  float of[256];
  Values() {
    for (int c = 0; c < 256; ++c) of[c] = decode(kCode, static_cast<std::uint8_t>(c));
  }
};

}  // namespace

std::uint64_t plain_digest(std::uint8_t* to, const std::uint8_t* from, std::size_t words, std::uint64_t first, bool) {
  std::uint64_t sum = 0, key = (first + 1) * kKeyStep;
  for (std::size_t i = 0; i < words; ++i, key += kKeyStep) {
    std::uint64_t w;
    std::memcpy(&w, from + i * sizeof w, sizeof w);
    if (to != nullptr) std::memcpy(to + i * sizeof w, &w, sizeof w);
    sum += mix(w + key);
  }
  return sum;
}

template <Code8 kCode>
void plain_quantise(std::uint8_t* codes, std::uint8_t* scales, const std::uint8_t* bf16, std::size_t count) {
  for (std::size_t at = 0; at < count; at += kScaleBlock) {
    const std::size_t n = std::min(kScaleBlock, count - at);
    std::uint16_t raw[kScaleBlock];
    std::memcpy(raw, bf16 + at * 2, n * 2);
    std::uint16_t most = 0;  // magnitudes of bf16 are ordered as their bits
    for (std::size_t i = 0; i < n; ++i) most = std::max<std::uint16_t>(most, raw[i] & 0x7fff);
    if (most >= kInfinity) {
      scales[at / kScaleBlock] = kNaNScale;
      std::memset(codes + at, 0, n);
      continue;
    }
    const int e = exponent_for(most, kCode);
    scales[at / kScaleBlock] = static_cast<std::uint8_t>(e + kBias);
    for (std::size_t i = 0; i < n; ++i) codes[at + i] = encode(kCode, divided(bf16_to_float(raw[i]), e));
  }
}

template <Code8 kCode>
void plain_dequantise_add(float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count) {
  static const Values<kCode> value;
  for (std::size_t at = 0; at < count; at += kScaleBlock) {
    const std::size_t n = std::min(kScaleBlock, count - at);
    const float scale = scale_of(scales[at / kScaleBlock]);
    for (std::size_t i = 0; i < n; ++i) sum[at + i] += value.of[codes[at + i]] * scale;
  }
}

template void plain_quantise<Code8::kFp8>(std::uint8_t*, std::uint8_t*, const std::uint8_t*, std::size_t);
template void plain_quantise<Code8::kInt8>(std::uint8_t*, std::uint8_t*, const std::uint8_t*, std::size_t);
template void plain_dequantise_add<Code8::kFp8>(float*, const std::uint8_t*, const std::uint8_t*, std::size_t);
template void plain_dequantise_add<Code8::kInt8>(float*, const std::uint8_t*, const std::uint8_t*, std::size_t);

}  // namespace regroup::kernels::host

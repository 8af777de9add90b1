// Quantise against its definition in long hand: every code, the choice of the scale, rounding, corners, any count.
#include "kernels/quantise.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "base/rng.h"
#include "tests/kernels/reference.h"

using namespace regroup;
using namespace regroup::kernels;

namespace {

double largest(Code8 code) { return code == Code8::kFp8 ? 448 : 127; }

double value_of(Code8 code, std::uint8_t c) {
  if (code == Code8::kInt8) return static_cast<std::int8_t>(c);
  if ((c & 0x7f) == 0x7f) return NAN;
  const int e = c >> 3 & 15, m = c & 7;
  const double v = e == 0 ? std::ldexp(m, -9) : std::ldexp(8 + m, e - 10);
  return (c & 0x80) != 0 ? -v : v;
}

// The code whose value is nearest; of two, the even one; zero keeps the sign of fp8.
std::uint8_t nearest(Code8 code, double v) {
  int best = -1;
  double distance = INFINITY;
  for (int c = 0; c < 256; ++c) {
    const double x = value_of(code, static_cast<std::uint8_t>(c));
    if (std::isnan(x) || (code == Code8::kInt8 && c == 0x80)) continue;
    if (code == Code8::kFp8 && ((c & 0x80) != 0) != std::signbit(v)) continue;
    const double d = std::fabs(x - v);
    if (d < distance || (d == distance && (c & 1) == 0)) best = c, distance = d;
  }
  return static_cast<std::uint8_t>(best);
}

struct Coded {
  std::vector<std::uint8_t> codes, scales;
};

Coded reference(Code8 code, const std::vector<std::uint16_t>& in) {
  Coded out{std::vector<std::uint8_t>(in.size()), std::vector<std::uint8_t>(scales_for(in.size()))};
  for (std::size_t at = 0; at < in.size(); at += kScaleBlock) {
    const std::size_t n = std::min(kScaleBlock, in.size() - at);
    double most = 0;
    bool finite = true;
    for (std::size_t i = at; i < at + n; ++i) {
      const double v = testing::kBrain.decode(in[i]);
      finite = finite && std::isfinite(v);
      most = std::max(most, std::fabs(v));
    }
    if (!finite) {
      out.scales[at / kScaleBlock] = 0xff;
      continue;
    }
    int e = -127;
    while (most > std::ldexp(largest(code), e)) ++e;
    out.scales[at / kScaleBlock] = static_cast<std::uint8_t>(e + 127);
    for (std::size_t i = at; i < at + n; ++i) out.codes[i] = nearest(code, std::ldexp(testing::kBrain.decode(in[i]), -e));
  }
  return out;
}

std::vector<std::uint16_t> inputs(std::size_t count, int kind, Rng& rng) {
  std::vector<std::uint16_t> in(count);
  for (auto& v : in) {
    v = static_cast<std::uint16_t>(rng.next());                                    // any bits
    if (kind == 0) v = static_cast<std::uint16_t>((v & 0x81ff) | 0x3e00);          // of similar size
    if (kind == 1 && (v & 0x7f80) == 0x7f80) v &= 0x807f;                          // finite, of any size
    if (kind == 3) v &= 0x80ff;                                                    // tiny and subnormal
  }
  return in;
}

}  // namespace

TEST_CASE("codes and scales are those of the definition") {
  Rng rng(4);
  for (const Code8 code : {Code8::kFp8, Code8::kInt8})
    for (int kind = 0; kind < 4; ++kind)
      for (const std::size_t count : {0u, 1u, 31u, 32u, 33u, 1000u}) {
        CAPTURE(int(code), kind, count);
        const auto in = inputs(count, kind, rng);
        const Coded want = reference(code, in);
        Coded got{std::vector<std::uint8_t>(count + 1, 0xee), std::vector<std::uint8_t>(scales_for(count) + 1, 0xee)};
        quantise(code, got.codes.data(), got.scales.data(), in.data(), count);
        CHECK((got.codes.back() == 0xee && got.scales.back() == 0xee));
        got.codes.pop_back(), got.scales.pop_back();
        CHECK(got.scales == want.scales);
        CHECK(got.codes == want.codes);
      }
}

TEST_CASE("every code comes back as its value times the scale, added once") {
  for (const Code8 code : {Code8::kFp8, Code8::kInt8}) {
    std::vector<std::uint8_t> codes(256), scales(scales_for(256));
    for (int c = 0; c < 256; ++c) codes[static_cast<std::size_t>(c)] = static_cast<std::uint8_t>(c);
    for (std::size_t b = 0; b < scales.size(); ++b) scales[b] = static_cast<std::uint8_t>(127 + 5 * static_cast<int>(b) - 20);
    std::vector<float> sum(256, 1.5f);
    dequantise_add(code, sum.data(), codes.data(), scales.data(), 256);
    for (std::size_t c = 0; c < 256; ++c) {
      CAPTURE(int(code), c);
      const auto part = static_cast<float>(std::ldexp(value_of(code, codes[c]), scales[c / kScaleBlock] - 127));
      if (std::isnan(part)) CHECK(std::isnan(sum[c]));
      else CHECK(sum[c] == 1.5f + part);
    }
  }
}

TEST_CASE("what was coded comes back to within half a step of the largest of its block, and a broken block as NaN") {
  Rng rng(5);
  for (const Code8 code : {Code8::kFp8, Code8::kInt8}) {
    auto in = inputs(320, 0, rng);
    in[100] = 0x7fc0;
    std::vector<std::uint8_t> codes(320), scales(scales_for(320));
    quantise(code, codes.data(), scales.data(), in.data(), 320);
    std::vector<float> sum(320);
    dequantise_add(code, sum.data(), codes.data(), scales.data(), 320);
    for (std::size_t b = 0; b < 320; b += kScaleBlock) {
      double most = 0;
      for (std::size_t i = b; i < b + kScaleBlock; ++i) most = std::max(most, std::fabs(testing::kBrain.decode(in[i])));
      for (std::size_t i = b; i < b + kScaleBlock; ++i) {
        if (b == 96) CHECK(std::isnan(sum[i]));
        else CHECK(std::fabs(sum[i] - testing::kBrain.decode(in[i])) <= most / (code == Code8::kFp8 ? 16 : 126));
      }
    }
  }
}

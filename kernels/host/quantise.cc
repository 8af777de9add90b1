// bf16 to 8-bit codes with a scale per block. Elements of even and of odd place are floats as they lie in 32-bit lanes; x / 2^e is
// one product, exact or rounded once as codes.h has it, and is rounded to the code by an addition to a number so large that its
// last bit counts the code's units.
#include "kernels/host/codes.h"
#include "kernels/host/table.h"
#include "kernels/host/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/host/quantise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/host/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS

constexpr std::size_t kHalves = HWY_MAX_BYTES / 2;  // in a vector
constexpr std::size_t kVectors = kScaleBlock / kHalves;
using H = hn::CappedTag<std::uint16_t, kHalves>;
using U = hn::Repartition<std::uint32_t, H>;
using F = hn::Repartition<float, H>;

template <class D>
HWY_INLINE std::uint32_t largest(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) > 8) {
    const hn::Half<D> half;
    return largest(half, hn::Max(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    return hn::GetLane(hn::MaxOfLanes(d, v));
  }
}

// exponent_for() + kBias. A mantissa above the largest code's carries into the exponent; what is subnormal, or not far from it,
// ends at 0.
template <Code8 kCode>
HWY_INLINE std::uint32_t scale_for(std::uint32_t most) {
  constexpr std::uint32_t carry = kCode == Code8::kFp8 ? 127 - 96 : 127 - 126, lead = kCode == Code8::kFp8 ? 8 : 6;
  const std::uint32_t e = (most + carry) >> 7;
  return e > lead ? e - lead : 0;
}

// Codes of floats, in the low bytes: of fp8 without the sign.
template <Code8 kCode>
HWY_INLINE hn::Vec<U> encoded(hn::Vec<F> v) {
  const F f;
  const U u;
  if constexpr (kCode == Code8::kInt8) {
    return hn::BitCast(u, hn::Add(v, hn::Set(f, 0x1.8p23f)));  // two's complement in the last bits
  } else {  // v >= 0. Units are 1/8 of its power of two, at least 2^-9
    const auto power = hn::Max(hn::And(hn::BitCast(u, v), hn::Set(u, 0x7f800000u)), hn::Set(u, 121u << 23));
    const auto large = hn::Add(power, hn::Set(u, 20u << 23));
    const auto units = hn::Sub(hn::BitCast(u, hn::Add(v, hn::BitCast(f, large))), large);
    return hn::Add(units, hn::Sub(hn::ShiftRight<20>(power), hn::Set(u, 121u << 3)));
  }
}

template <Code8 kCode>
HWY_INLINE void quantise(std::uint8_t* codes, std::uint8_t* scales, const std::uint8_t* bf16, std::size_t count) {
  const H h;
  const U u;
  const F f;
  const hn::Repartition<std::uint8_t, H> bytes;
  const auto sizes = hn::Set(h, 0x7fff);
  const std::size_t whole = count / kScaleBlock;
  for (std::size_t b = 0; b < whole; ++b, codes += kScaleBlock, bf16 += 2 * kScaleBlock) {
    auto most = hn::Zero(h);
    for (std::size_t k = 0; k < kVectors; ++k)
      most = hn::Max(most, hn::And(hn::BitCast(h, hn::LoadU(bytes, bf16 + k * HWY_MAX_BYTES)), sizes));
    const std::uint32_t m = largest(h, most);
    if (m >= host::kInfinity) {
      scales[b] = host::kNaNScale;
      std::memset(codes, 0, kScaleBlock);
      continue;
    }
    const std::uint32_t scale = scale_for<kCode>(m);
    scales[b] = static_cast<std::uint8_t>(scale);
    const auto by = hn::BitCast(f, hn::Set(u, (2 * host::kBias - scale) << 23));
    for (std::size_t k = 0; k < kVectors; ++k) {
      const auto raw = hn::BitCast(h, hn::LoadU(bytes, bf16 + k * HWY_MAX_BYTES));
      const auto v = hn::BitCast(u, kCode == Code8::kFp8 ? hn::And(raw, sizes) : raw);
      const auto even = encoded<kCode>(hn::Mul(hn::BitCast(f, hn::ShiftLeft<16>(v)), by));
      const auto odd = encoded<kCode>(hn::Mul(hn::BitCast(f, hn::And(v, hn::Set(u, 0xffff0000u))), by));
      auto code = hn::OddEven(hn::BitCast(h, hn::ShiftLeft<16>(odd)), hn::BitCast(h, even));
      code = kCode == Code8::kFp8 ? hn::Or(code, hn::And(hn::ShiftRight<8>(raw), hn::Set(h, 0x80))) : hn::And(code, hn::Set(h, 0xff));
      const hn::Rebind<std::uint8_t, H> narrow;
      hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(hn::RebindToSigned<H>(), code)), narrow, codes + k * kHalves);
    }
  }
  host::plain_quantise<kCode>(codes, scales + whole, bf16, count % kScaleBlock);
}

void quantise_fp8(std::uint8_t* codes, std::uint8_t* scales, const std::uint8_t* bf16, std::size_t count) {
  quantise<Code8::kFp8>(codes, scales, bf16, count);
}
void quantise_int8(std::uint8_t* codes, std::uint8_t* scales, const std::uint8_t* bf16, std::size_t count) {
  quantise<Code8::kInt8>(codes, scales, bf16, count);
}

#endif
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace regroup::kernels::host {
std::array<QuantiseFn, kCodes> quantise_for(std::int64_t target) {
  return {RG_FUNCTION_OF(target, quantise_fp8), RG_FUNCTION_OF(target, quantise_int8)};
}
}  // namespace regroup::kernels::host
#endif

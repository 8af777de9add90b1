// bf16 to 8-bit codes with a scale per block. Elements of even and of odd place are floats as they lie in 32-bit lanes; x / 2^e is
// one product, exact or rounded once as codes.h has it, and is rounded to the code by an addition to a number so large that its
// last bit counts the code's units.
#include <algorithm>

#include "kernels/host/codes.h"
#include "kernels/host/table.h"
#include "kernels/host/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/host/quantise.cc"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "kernels/host/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS

constexpr std::size_t kHalves = HWY_MAX_BYTES / 2;  // in a vector
using H = hn::CappedTag<std::uint16_t, kHalves>;
using U = hn::Repartition<std::uint32_t, H>;
using F = hn::Repartition<float, H>;
using Raw = hn::Repartition<std::uint8_t, H>;

constexpr std::uint32_t kLead = 6;  // powers of two below 1 that have 8 codes in fp8

template <class D>
HWY_INLINE std::uint16_t largest(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) > 8) {
    const hn::Half<D> half;
    return largest(half, hn::Max(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
#if HWY_ARCH_X86  // what MaxOfLanes does, without its broadcast
    return static_cast<std::uint16_t>(~_mm_cvtsi128_si32(_mm_minpos_epu16(hn::Not(v).raw)));
#else
    return hn::GetLane(hn::MaxOfLanes(d, v));
#endif
  }
}

constexpr std::size_t kGroup = 32;  // blocks whose scales are made together: one after another each would wait for its own

struct Scales {  // of a group
  std::uint32_t by[kGroup];      // as floats 1 / the scale
  std::uint32_t lowest[kGroup];  // of encoded(), twice
  std::uint32_t base[kGroup];    // of normal(), twice
  std::uint8_t scale[kGroup];
  bool rare = false;  // a block of no numbers, or, of fp8, of all below 2^-110 and not of zeros
};

// The scale is exponent_for() + kBias: a mantissa above the largest code's carries into the exponent; what is subnormal, or not far
// from it, ends at 0.
template <Code8 kCode>
HWY_INLINE Scales scales_of(const std::uint16_t (&most)[kGroup]) {
  constexpr std::uint32_t carry = kCode == Code8::kFp8 ? 127 - 96 : 127 - 126, lead = kCode == Code8::kFp8 ? 8 : 6;
  Scales s;
  std::uint32_t rare = 0;
  for (std::size_t j = 0; j < kGroup; ++j) {
    const std::uint32_t m = most[j], e = (m + carry) >> 7, scale = std::max(e, lead) - lead;
    s.scale[j] = static_cast<std::uint8_t>(scale);
    s.by[j] = (2 * host::kBias - scale) << 23;
    const std::uint32_t lowest = (std::max(scale, kLead) - kLead) << 7;
    s.lowest[j] = lowest * 0x00010001u;
    s.base[j] = (std::max(lowest, 1u << 7 | 7) - (1u << 7 | 7)) * 0x00010001u;
    rare |= static_cast<std::uint32_t>(m >= host::kInfinity) | static_cast<std::uint32_t>(kCode == Code8::kFp8 && m != 0 && scale < kLead + 2);
  }
  s.rare = rare != 0;
  return s;
}

struct Floats {
  hn::Vec<F> even, odd;
};
HWY_INLINE Floats floats(hn::Vec<H> halves) {
  const auto v = hn::BitCast(U(), halves);
  return {hn::BitCast(F(), hn::ShiftLeft<16>(v)), hn::BitCast(F(), hn::And(v, hn::Set(U(), 0xffff0000u)))};
}

// x / 2^e + large, of which the last 16 bits are kept.
HWY_INLINE hn::Vec<H> units(hn::Vec<H> x, hn::Vec<F> by, Floats large) {
  const Floats v = floats(x);
  const auto even = hn::BitCast(U(), hn::Add(hn::Mul(v.even, by), large.even));
  const auto odd = hn::BitCast(U(), hn::Add(hn::Mul(v.odd, by), large.odd));
  return hn::OddEven(hn::BitCast(H(), hn::ShiftLeft<16>(odd)), hn::BitCast(H(), even));
}

// Codes of a vector in the low bytes. fp8: the units are 1/8 of the power of two in x / 2^e, at least 2^-9; `lowest` is what has 2^-6
// there. A power has 8 codes, and units begin to count at the second.
template <Code8 kCode>
HWY_INLINE hn::Vec<H> encoded(hn::Vec<H> raw, hn::Vec<F> by, hn::Vec<H> lowest) {
  const H h;
  if constexpr (kCode == Code8::kInt8) {
    const auto large = hn::Set(F(), 0x1.8p23f);  // two's complement in the last bits
    return hn::And(units(raw, by, {large, large}), hn::Set(h, 0xff));
  } else {
    const auto power = hn::SaturatedSub(hn::And(raw, hn::Set(h, 0x7f80)), lowest);
    const auto large = floats(hn::Add(power, hn::Set(h, (121 + 20) << 7)));
    const auto size = hn::Add(units(hn::And(raw, hn::Set(h, 0x7fff)), by, large), hn::ShiftRight<4>(power));
    return hn::Or(size, hn::And(hn::ShiftRight<8>(raw), hn::Set(h, 0x80)));
  }
}

// fp8 of numbers of at least 2^-6, and of 0: bf16 has 4 bits more behind the same point. A half goes to the even code: 7 is in
// `base`, the last bit that stays is added.
HWY_INLINE hn::Vec<H> normal(hn::Vec<H> raw, hn::Vec<H> size, hn::Vec<H> base) {
  const H h;
  const auto even = hn::And(hn::ShiftRight<4>(raw), hn::Set(h, 1));
  const auto code = hn::ShiftRight<4>(hn::Add(hn::SaturatedSub(size, base), even));
  return hn::OrAnd(code, hn::ShiftRight<8>(raw), hn::Set(h, 0x80));
}

template <Code8 kCode>
HWY_INLINE void quantise(std::uint8_t* codes, std::uint8_t* scales, const std::uint8_t* bf16, std::size_t count) {
  const H h;
  const U u;
  const hn::Rebind<std::uint8_t, H> narrow;
  const auto halves_at = [&](std::size_t i) HWY_ATTR { return hn::BitCast(h, hn::LoadU(Raw(), bf16 + 2 * i)); };
  const std::size_t whole = count / kScaleBlock;
  for (std::size_t b = 0; b < whole; b += kGroup) {
    const std::size_t n = std::min(kGroup, whole - b);
    std::uint16_t most[kGroup] = {};
    for (std::size_t j = 0; j < n; ++j) {
      auto v = hn::Zero(h);
      for (std::size_t k = 0; k < kScaleBlock; k += kHalves) v = hn::Max(v, hn::And(halves_at(j * kScaleBlock + k), hn::Set(h, 0x7fff)));
      most[j] = largest(h, v);
    }
    const Scales s = scales_of<kCode>(most);
    std::memcpy(scales + b, s.scale, n);
    if (s.rare) host::plain_quantise<kCode>(codes, scales + b, bf16, n * kScaleBlock);
    for (std::size_t j = 0; j < n && !s.rare; ++j) {
      hwy::Prefetch(bf16 + 2 * (j + 2 * kGroup) * kScaleBlock);  // of the group after the next
      const auto by = hn::BitCast(F(), hn::Set(u, s.by[j]));
      const auto lowest = hn::BitCast(h, hn::Set(u, s.lowest[j]));
      const auto base = hn::BitCast(h, hn::Set(u, s.base[j]));
      for (std::size_t i = j * kScaleBlock; i < (j + 1) * kScaleBlock; i += kHalves) {
        const auto raw = halves_at(i);
        const auto store = [&](hn::Vec<H> code) HWY_ATTR {
          hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(hn::RebindToSigned<H>(), code)), narrow, codes + i);
        };
        if constexpr (kCode == Code8::kFp8) {
          const auto size = hn::And(raw, hn::Set(h, 0x7fff)), one = hn::Set(h, 1);
          if (hn::AllFalse(h, hn::Lt(hn::Sub(size, one), hn::Sub(lowest, one)))) {  // none below 2^-6 but 0
            store(normal(raw, size, base));
            continue;
          }
        }
        store(encoded<kCode>(raw, by, lowest));
      }
    }
    codes += n * kScaleBlock;
    bf16 += 2 * n * kScaleBlock;
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

// Vector arithmetic that Highway 1.0.3 lacks or rounds otherwise: wrapping products, division by a small constant, IEEE
// minimum and maximum, f16 and bf16 with rounding to nearest even. Recompiled per target: include from .cc files only.
#include "kernels/host/targets.h"
#if defined(RG_KERNELS_LANES_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef RG_KERNELS_LANES_INL
#undef RG_KERNELS_LANES_INL
#else
#define RG_KERNELS_LANES_INL
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS
namespace hn = hwy::HWY_NAMESPACE;

// Low half of the product: wraps.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V multiply(D d, V a, V b) {
  using T = hn::TFromD<D>;
  if constexpr (sizeof(T) == 1) {
    const hn::Repartition<std::uint16_t, D> d16;
    const auto x = hn::BitCast(d16, a);
    const auto y = hn::BitCast(d16, b);
    const auto even = hn::And(hn::Mul(x, y), hn::Set(d16, 0x00ff));
    const auto odd = hn::Mul(hn::ShiftRight<8>(x), hn::And(y, hn::Set(d16, 0xff00)));  // low byte of it is zero
    return hn::BitCast(d, hn::Or(even, odd));
#if HWY_TARGET != HWY_AVX3
  } else if constexpr (sizeof(T) == 8 && !std::is_floating_point_v<T>) {
    const hn::Repartition<std::uint32_t, D> d32;
    const hn::RebindToUnsigned<D> du;
    const auto x = hn::BitCast(d32, a);
    const auto y = hn::BitCast(d32, b);
    const auto cross = hn::BitCast(du, hn::Mul(x, hn::Shuffle2301(y)));
    const auto high = hn::ShiftLeft<32>(hn::Add(cross, hn::ShiftRight<32>(cross)));
    return hn::BitCast(d, hn::Add(hn::BitCast(du, hn::MulEven(x, y)), high));
#endif
  } else {
    return hn::Mul(a, b);
  }
}

// High half of the unsigned product.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V multiply_high(D d, V a, V b) {
  using T = hn::TFromD<D>;
  static_assert(std::is_unsigned_v<T>);
  if constexpr (sizeof(T) == 2) {
    return hn::MulHigh(a, b);
  } else if constexpr (sizeof(T) == 4) {
    const hn::Repartition<std::uint64_t, D> d64;
    const auto even = hn::ShiftRight<32>(hn::MulEven(a, b));
    const auto odd = hn::MulEven(hn::Shuffle2301(a), hn::Shuffle2301(b));
    return hn::Or(hn::BitCast(d, even), hn::BitCast(d, hn::And(odd, hn::Set(d64, 0xffffffff00000000ull))));
  } else {
    const hn::Repartition<std::uint32_t, D> d32;
    const auto a0 = hn::BitCast(d32, a);
    const auto b0 = hn::BitCast(d32, b);
    const auto a1 = hn::Shuffle2301(a0);
    const auto b1 = hn::Shuffle2301(b0);
    const auto low = hn::Set(d, 0xffffffffull);
    const auto p01 = hn::MulEven(a0, b1);
    const auto carry =
        hn::Add(hn::Add(hn::ShiftRight<32>(hn::MulEven(a0, b0)), hn::And(p01, low)), hn::MulEven(a1, b0));
    return hn::Add(hn::Add(hn::MulEven(a1, b1), hn::ShiftRight<32>(p01)), hn::ShiftRight<32>(carry));
  }
}

// Integer division by a divisor in [1, 1024]. With m = floor((2^w - 1) / k) the high product a * m is at most one below
// the quotient, for every a < 2^w; one look at the remainder settles it. Bytes are divided in 16-bit lanes.
template <class D>
class Divider {
  using T = hn::TFromD<D>;
  using Wide = std::conditional_t<sizeof(T) == 1, std::uint16_t, std::make_unsigned_t<T>>;
  using DW = hn::Repartition<Wide, D>;
  using V = hn::Vec<D>;
  using VW = hn::Vec<DW>;

 public:
  explicit HWY_INLINE Divider(std::size_t k)
      : factor_(hn::Set(DW(), static_cast<Wide>(static_cast<Wide>(~Wide{0}) / static_cast<Wide>(k)))),
        divisor_(hn::Set(DW(), static_cast<Wide>(k))) {}

  HWY_INLINE V operator()(V v) const {  // truncates toward zero
    const D d;
    const hn::RebindToUnsigned<D> du;
    if constexpr (std::is_signed_v<T>) {
      const V sign = hn::BroadcastSignBit(v);
      const auto size = hn::BitCast(du, hn::Sub(hn::Xor(v, sign), sign));
      return hn::Sub(hn::Xor(hn::BitCast(d, divide(size)), sign), sign);
    } else {
      return divide(v);
    }
  }

 private:
  template <class VU>
  HWY_INLINE VU divide(VU v) const {
    if constexpr (sizeof(T) == 1) {
      const hn::RebindToUnsigned<D> du;
      const DW dw;
      const auto x = hn::BitCast(dw, v);
      const auto even = divide_wide(hn::And(x, hn::Set(dw, 0x00ff)));
      const auto odd = divide_wide(hn::ShiftRight<8>(x));
      return hn::BitCast(du, hn::Or(even, hn::ShiftLeft<8>(odd)));
    } else {
      return divide_wide(v);
    }
  }
  HWY_INLINE VW divide_wide(VW a) const {
    const DW dw;
    const hn::RebindToSigned<DW> ds;
    const VW q = multiply_high(dw, a, factor_);
    // The remainder is below 2 * 1024, so a signed comparison will do. True is -1 in every lane.
    const auto rest = hn::BitCast(ds, hn::Sub(a, multiply(dw, q, divisor_)));
    const auto below = hn::BitCast(ds, hn::Sub(divisor_, hn::Set(dw, 1)));
    return hn::Sub(q, hn::BitCast(dw, hn::VecFromMask(ds, hn::Gt(rest, below))));
  }
  VW factor_;
  VW divisor_;
};

// Minimum and maximum with NaN if either is NaN, and -0 < +0; for integers the plain ones. x86 min(a, b) returns b
// where the two are equal or either is NaN; so the OR of both orders keeps a sign bit of zeros and the bits of a NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V minimum(D, V a, V b) {
  if constexpr (std::is_floating_point_v<hn::TFromD<D>>) {
    return hn::Or(hn::Min(a, b), hn::Min(b, a));
  } else {
    return hn::Min(a, b);
  }
}
template <class D, class V = hn::Vec<D>>
HWY_INLINE V maximum(D d, V a, V b) {
  if constexpr (std::is_floating_point_v<hn::TFromD<D>>) {
    const V sign = hn::SignBit(d);
    return hn::Xor(sign, minimum(d, hn::Xor(sign, a), hn::Xor(sign, b)));
  } else {
    return hn::Max(a, b);
  }
}

// One NaN for all: which payload survives an addition depends on the order of operands, which compilers choose.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V canonical(D d, V v) {
  if constexpr (std::is_same_v<hn::TFromD<D>, float>) {
    const hn::RebindToUnsigned<D> du;
    return hn::IfThenElse(hn::IsNaN(v), hn::BitCast(d, hn::Set(du, 0x7fc00000u)), v);
  } else if constexpr (std::is_same_v<hn::TFromD<D>, double>) {
    const hn::RebindToUnsigned<D> du;
    return hn::IfThenElse(hn::IsNaN(v), hn::BitCast(d, hn::Set(du, 0x7ff8000000000000ull)), v);
  } else {
    return v;
  }
}

// Two vectors of f32 that stand for one vector of 16-bit floats (which lane is where, its converter knows).
template <class D32>
struct Pair {
  hn::Vec<D32> a, b;
};

// bf16: even lanes in a, odd lanes in b. narrow() takes canonical values (no NaN that rounding would carry over).
template <class D32>
struct BF16Lanes {
  using DU = hn::RebindToUnsigned<D32>;
  using Raw = hn::Vec<DU>;
  static HWY_INLINE Pair<D32> widen(Raw v) {
    const D32 d;
    return {hn::BitCast(d, hn::ShiftLeft<16>(v)), hn::BitCast(d, hn::And(v, hn::Set(DU(), 0xffff0000u)))};
  }
  static HWY_INLINE Raw narrow(Pair<D32> v) {
    return hn::Or(hn::ShiftRight<16>(round(v.a)), hn::And(round(v.b), hn::Set(DU(), 0xffff0000u)));
  }

 private:
  static HWY_INLINE Raw round(hn::Vec<D32> v) {  // to nearest even, in the upper half; the lower half is of no use
    const DU du;
    const Raw u = hn::BitCast(du, v);
    const Raw odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1u));
    return hn::Add(u, hn::Add(odd, hn::Set(du, 0x7fffu)));
  }
};

#if HWY_TARGET != HWY_SSE4
// f16 with the machine's conversions (F16C, NEON), which round to nearest even: lower half in a, upper half in b.
template <class D32>
struct F16Lanes {
  using DU = hn::RebindToUnsigned<D32>;
  using Raw = hn::Vec<DU>;
  using D16 = hn::Rebind<hwy::float16_t, D32>;
  using DU16 = hn::Rebind<std::uint16_t, D32>;
  using Whole = hn::Repartition<std::uint16_t, D32>;
  static HWY_INLINE Pair<D32> widen(Raw v) {
    const D32 d;
    const auto u = hn::BitCast(Whole(), v);
    return {hn::PromoteTo(d, hn::BitCast(D16(), hn::LowerHalf(DU16(), u))),
            hn::PromoteTo(d, hn::BitCast(D16(), hn::UpperHalf(DU16(), u)))};
  }
  static HWY_INLINE Raw narrow(Pair<D32> v) {
    const auto low = hn::BitCast(DU16(), hn::DemoteTo(D16(), v.a));
    const auto high = hn::BitCast(DU16(), hn::DemoteTo(D16(), v.b));
    return hn::BitCast(DU(), hn::Combine(Whole(), high, low));
  }
};
#else
// f16 in integer arithmetic (Highway's own for this target truncates and knows no infinity): even lanes in a, odd in b.
template <class D32>
struct F16Lanes {
  using DU = hn::RebindToUnsigned<D32>;
  using Raw = hn::Vec<DU>;
  static HWY_INLINE Pair<D32> widen(Raw v) {
    return {from_bits(hn::And(v, hn::Set(DU(), 0xffffu))), from_bits(hn::ShiftRight<16>(v))};
  }
  static HWY_INLINE Raw narrow(Pair<D32> v) { return hn::Or(to_bits(v.a), hn::ShiftLeft<16>(to_bits(v.b))); }

 private:
  // Exponent and mantissa moved into place are the value times 2^-112, subnormals included.
  static HWY_INLINE hn::Vec<D32> from_bits(Raw h) {
    const D32 d;
    const DU du;
    const hn::RebindToSigned<D32> di;
    const Raw size = hn::And(h, hn::Set(du, 0x7fffu));
    const Raw sign = hn::ShiftLeft<16>(hn::Xor(h, size));
    const auto value = hn::Mul(hn::BitCast(d, hn::ShiftLeft<13>(size)), hn::Set(d, 0x1p112f));
    const auto special = hn::Gt(hn::BitCast(di, size), hn::Set(di, 0x7bff));
    const Raw ones = hn::And(hn::BitCast(du, hn::VecFromMask(di, special)), hn::Set(du, 0x7f800000u));
    return hn::BitCast(d, hn::Or(hn::Or(hn::BitCast(du, value), ones), sign));
  }
  static HWY_INLINE Raw to_bits(hn::Vec<D32> v) {
    const D32 d;
    const DU du;
    const hn::RebindToSigned<D32> di;
    const Raw u = hn::BitCast(du, v);
    const Raw size = hn::And(u, hn::Set(du, 0x7fffffffu));
    const Raw sign = hn::ShiftRight<16>(hn::Xor(u, size));
    // Normal: round at bit 13, then change the exponent's bias.
    const Raw odd = hn::And(hn::ShiftRight<13>(size), hn::Set(du, 1u));
    const Raw rounded = hn::ShiftRight<13>(hn::Add(size, hn::Add(odd, hn::Set(du, 0xfffu))));
    const Raw normal = hn::Sub(rounded, hn::Set(du, 112u << 10));
    // Subnormal: a float in [0.5, 1) counts units of 2^-24, so adding 0.5 rounds to them.
    const auto half = hn::Set(d, 0.5f);
    const Raw tiny = hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(d, size), half)), hn::BitCast(du, half));
    const auto is = hn::BitCast(di, size);
    Raw out = hn::IfThenElse(hn::RebindMask(du, hn::Lt(is, hn::Set(di, 113 << 23))), tiny, normal);
    out = hn::IfThenElse(hn::RebindMask(du, hn::Gt(is, hn::Set(di, 0x477fffff))), hn::Set(du, 0x7c00u), out);
    out = hn::IfThenElse(hn::RebindMask(du, hn::Gt(is, hn::Set(di, 0x7f800000))), hn::Set(du, 0x7e00u), out);
    return hn::Or(out, sign);
  }
};
#endif

#endif  // RG_HAVE_VECTORS
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // toggle

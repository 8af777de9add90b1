// 8-bit codes times their scale, added to floats.
#include "kernels/host/codes.h"
#include "kernels/host/table.h"
#include "kernels/host/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/host/dequantise.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/host/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS

constexpr std::size_t kFloats = HWY_MAX_BYTES / 4;
using F = hn::CappedTag<float, kFloats>;
using U = hn::RebindToUnsigned<F>;

// e4m3 has the exponents of a float, 120 below; where its own is 0 it counts 2^-9: without what a float's leading bit adds.
// (A float that is subnormal times 2^120 would do as well, and costs some machines a hundred cycles.)
HWY_INLINE hn::Vec<F> value_of_fp8(hn::Vec<U> code) {
  const F f;
  const U u;
  const auto size = hn::And(code, hn::Set(u, 0x7fu));
  const auto sign = hn::And(hn::ShiftLeft<24>(code), hn::Set(u, 0x80000000u));
  const auto normal = hn::Add(hn::ShiftLeft<20>(size), hn::Set(u, 120u << 23));
  const auto tiny = hn::Sub(hn::BitCast(f, hn::Add(normal, hn::Set(u, 1u << 23))), hn::Set(f, 0x1p-6f));
  auto v = hn::IfThenElse(hn::MaskFromVec(hn::BitCast(f, hn::VecFromMask(u, hn::Lt(size, hn::Set(u, 8u))))), tiny, hn::BitCast(f, normal));
  const auto none = hn::VecFromMask(u, hn::Eq(size, hn::Set(u, 0x7fu)));
  v = hn::Or(v, hn::BitCast(f, hn::And(none, hn::Set(u, 0x7fc00000u))));
  return hn::Or(v, hn::BitCast(f, sign));
}

template <Code8 kCode>
HWY_INLINE hn::Vec<F> value_at(const std::uint8_t* codes) {
  const hn::Rebind<std::uint8_t, F> bytes;
  const hn::RebindToSigned<F> i;
  const auto raw = hn::LoadU(bytes, codes);
  if constexpr (kCode == Code8::kFp8) {
    return value_of_fp8(hn::PromoteTo(U(), raw));
  } else {
    return hn::ConvertTo(F(), hn::PromoteTo(i, hn::BitCast(hn::RebindToSigned<decltype(bytes)>(), raw)));
  }
}

template <Code8 kCode>
HWY_INLINE void dequantise_add(float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count) {
  const F f;
  const std::size_t whole = count / kScaleBlock;
  for (std::size_t b = 0; b < whole; ++b, sum += kScaleBlock, codes += kScaleBlock) {
    const auto scale = hn::Set(f, host::scale_of(scales[b]));
    for (std::size_t k = 0; k < kScaleBlock; k += kFloats)
      hn::StoreU(hn::Add(hn::LoadU(f, sum + k), hn::Mul(value_at<kCode>(codes + k), scale)), f, sum + k);
  }
  host::plain_dequantise_add<kCode>(sum, codes, scales + whole, count % kScaleBlock);
}

void dequantise_add_fp8(float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count) {
  dequantise_add<Code8::kFp8>(sum, codes, scales, count);
}
void dequantise_add_int8(float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count) {
  dequantise_add<Code8::kInt8>(sum, codes, scales, count);
}

#endif
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace regroup::kernels::host {
std::array<DequantiseAddFn, kCodes> dequantise_add_for(std::int64_t target) {
  return {RG_FUNCTION_OF(target, dequantise_add_fp8), RG_FUNCTION_OF(target, dequantise_add_int8)};
}
}  // namespace regroup::kernels::host
#endif

// Digest of whole words, a vector of them at a time, while they are copied or not. The sum wraps, so its order is free.
#include "kernels/host/mix.h"
#include "kernels/host/table.h"
#include "kernels/host/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/host/digest.cc"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "kernels/host/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS

enum class To { kNowhere, kCached, kStream };

template <class D, class V = hn::Vec<D>>
HWY_INLINE V mixed(D d, V z) {
  z = multiply(d, hn::Xor(z, hn::ShiftRight<30>(z)), hn::Set(d, host::kFirstFactor));
  z = multiply(d, hn::Xor(z, hn::ShiftRight<27>(z)), hn::Set(d, host::kSecondFactor));
  return hn::Xor(z, hn::ShiftRight<31>(z));
}

template <To kTo>
HWY_INLINE std::uint64_t digest_vectors(std::uint8_t* to, const std::uint8_t* from, std::size_t words, std::uint64_t first) {
  constexpr std::size_t lanes = HWY_MAX_BYTES / 8, step = 8 * HWY_MAX_BYTES / 8;
  constexpr std::size_t ahead = 4096;  // the hardware stops at a page
  const hn::CappedTag<std::uint64_t, lanes> d;
  const hn::CappedTag<std::uint8_t, HWY_MAX_BYTES> bytes;
  std::uint64_t lane[lanes];
  for (std::size_t l = 0; l < lanes; ++l) lane[l] = (first + l + 1) * host::kKeyStep;
  auto key = hn::LoadU(d, lane);
  const auto next = hn::Set(d, lanes * host::kKeyStep);
  auto sum = hn::Zero(d);
  const auto one = [&](std::size_t i) HWY_ATTR {
    const auto raw = hn::LoadU(bytes, from + i * 8);
    if constexpr (kTo == To::kCached) hn::StoreU(raw, bytes, to + i * 8);
    if constexpr (kTo == To::kStream) hn::Stream(raw, bytes, to + i * 8);
    sum = hn::Add(sum, mixed(d, hn::Add(hn::BitCast(d, raw), key)));
    key = hn::Add(key, next);
  };
  std::size_t i = 0;
  for (; i + step <= words; i += step) {
    for (std::size_t k = 0; k < step * 8; k += 64) hwy::Prefetch(from + i * 8 + ahead + k);
    for (std::size_t k = 0; k < step; k += lanes) one(i + k);
  }
  for (; i + lanes <= words; i += lanes) one(i);
  hn::StoreU(sum, d, lane);
  std::uint64_t all = host::plain_digest(kTo == To::kNowhere ? nullptr : to + i * 8, from + i * 8, words - i, first + i, false);
  for (const std::uint64_t part : lane) all += part;
  return all;
}

std::uint64_t digest(std::uint8_t* to, const std::uint8_t* from, std::size_t words, std::uint64_t first, bool stream) {
  if (to == nullptr) return digest_vectors<To::kNowhere>(to, from, words, first);
  return stream ? digest_vectors<To::kStream>(to, from, words, first) : digest_vectors<To::kCached>(to, from, words, first);
}

#endif
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace regroup::kernels::host {
DigestFn digest_for(std::int64_t target) { return RG_FUNCTION_OF(target, digest); }
}  // namespace regroup::kernels::host
#endif

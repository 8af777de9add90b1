// The loops around a fold: whole vectors in groups of four, 16-byte vectors and a padded rest at the ends. Every
// element passes through the same vector code, wherever it stands, so alignment and count cannot change its bits. Reads
// and writes only [0, bytes) of each buffer; all loads of a vector come before its store (in place works).
#if defined(RG_KERNELS_REDUCE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef RG_KERNELS_REDUCE_INL
#undef RG_KERNELS_REDUCE_INL
#else
#define RG_KERNELS_REDUCE_INL
#endif

#include "kernels/host/fold-inl.h"
#include "kernels/host/table.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS
using host::Row;

constexpr std::size_t kLine = 64;  // bytes of a cache line

template <class Word>
HWY_INLINE std::uint64_t load_word(const std::uint8_t* p) {
  Word w;
  std::memcpy(&w, p, sizeof w);
  return w;
}
template <class Word>
HWY_INLINE void store_word(std::uint8_t* p, std::uint64_t v) {
  const auto w = static_cast<Word>(v);
  std::memcpy(p, &w, sizeof w);
}

// n in [1, 15] bytes at p, the rest zero: two overlapping words, whichever size fits.
HWY_INLINE hn::Vec<Bytes<16>> load_part(const std::uint8_t* p, std::size_t n) {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  if (n >= 8) {
    low = load_word<std::uint64_t>(p);
    if (n > 8) high = load_word<std::uint64_t>(p + n - 8) >> (8 * (16 - n));
  } else if (n >= 4) {
    low = load_word<std::uint32_t>(p) | load_word<std::uint32_t>(p + n - 4) << (8 * (n - 4));
  } else {
    low = std::uint64_t{p[0]} | std::uint64_t{p[n / 2]} << (8 * (n / 2)) | std::uint64_t{p[n - 1]} << (8 * (n - 1));
  }
  const hn::CappedTag<std::uint64_t, 2> d;
  const hn::CappedTag<std::uint64_t, 1> dh;
  return hn::BitCast(Bytes<16>(), hn::Combine(d, hn::Set(dh, high), hn::Set(dh, low)));
}
HWY_INLINE void store_part(std::uint8_t* p, std::size_t n, hn::Vec<Bytes<16>> v) {
  const hn::CappedTag<std::uint64_t, 2> d;
  const hn::CappedTag<std::uint64_t, 1> dh;
  const auto words = hn::BitCast(d, v);
  const std::uint64_t low = hn::GetLane(words);
  if (n >= 8) {
    const std::uint64_t high = hn::GetLane(hn::UpperHalf(dh, words));
    store_word<std::uint64_t>(p, low);
    if (n > 8) store_word<std::uint64_t>(p + n - 8, low >> (8 * (n - 8)) | high << (8 * (16 - n)));
  } else if (n >= 4) {
    store_word<std::uint32_t>(p, low);
    store_word<std::uint32_t>(p + n - 4, low >> (8 * (n - 4)));
  } else {
    p[0] = static_cast<std::uint8_t>(low);
    p[n / 2] = static_cast<std::uint8_t>(low >> (8 * (n / 2)));
    p[n - 1] = static_cast<std::uint8_t>(low >> (8 * (n - 1)));
  }
}

template <class F>
HWY_INLINE typename F::Acc load(const F& f, const std::uint8_t* p) {
  return f.widen(hn::LoadU(Bytes<F::kBytes>(), p));
}

// Bytes [begin, end), which are few: 16 at a time.
template <class F>
HWY_NOINLINE void fold_few(const F& f, std::uint8_t* dst, const std::uint8_t* const* s, std::size_t k,
                           std::size_t begin, std::size_t end) {
  static_assert(F::kBytes == 16);
  std::size_t i = begin;
  for (; i + 16 <= end; i += 16) {
    auto acc = load(f, s[0] + i);
    for (std::size_t j = 1; j < k; ++j) acc = f.fold(acc, load(f, s[j] + i));
    hn::StoreU(f.finish(acc), Bytes<16>(), dst + i);
  }
  if (i == end) return;
  const std::size_t n = end - i;
  auto acc = f.widen(load_part(s[0] + i, n));
  for (std::size_t j = 1; j < k; ++j) acc = f.fold(acc, f.widen(load_part(s[j] + i, n)));
  store_part(dst + i, n, f.finish(acc));
}

template <bool kStream, std::size_t kBytes>
HWY_INLINE void put(hn::Vec<Bytes<kBytes>> v, std::uint8_t* p) {
  if constexpr (kStream) {
    hn::Stream(v, Bytes<kBytes>(), p);
  } else {
    hn::StoreU(v, Bytes<kBytes>(), p);
  }
}

// Whole vectors from `begin`; returns where it stopped. kCount is k, or 0 for any k.
template <std::size_t kCount, bool kStream, class F>
HWY_INLINE std::size_t fold_many(const F& f, std::uint8_t* dst, const std::uint8_t* const* sources, std::size_t k,
                                 std::size_t begin, std::size_t end) {
  constexpr std::size_t b = F::kBytes;
  const std::uint8_t* fixed[kCount + 1];
  for (std::size_t j = 0; j < kCount; ++j) fixed[j] = sources[j];
  const std::uint8_t* const* const s = kCount != 0 ? fixed : sources;
  const std::size_t n = kCount != 0 ? kCount : k;
  std::size_t i = begin;
  for (; i + 4 * b <= end; i += 4 * b) {
    auto a0 = load(f, s[0] + i);
    auto a1 = load(f, s[0] + i + b);
    auto a2 = load(f, s[0] + i + 2 * b);
    auto a3 = load(f, s[0] + i + 3 * b);
#pragma GCC unroll 4
    for (std::size_t j = 1; j < n; ++j) {
      a0 = f.fold(a0, load(f, s[j] + i));
      a1 = f.fold(a1, load(f, s[j] + i + b));
      a2 = f.fold(a2, load(f, s[j] + i + 2 * b));
      a3 = f.fold(a3, load(f, s[j] + i + 3 * b));
    }
    put<kStream, b>(f.finish(a0), dst + i);
    put<kStream, b>(f.finish(a1), dst + i + b);
    put<kStream, b>(f.finish(a2), dst + i + 2 * b);
    put<kStream, b>(f.finish(a3), dst + i + 3 * b);
  }
  for (; i + b <= end; i += b) {
    auto acc = load(f, s[0] + i);
#pragma GCC unroll 4
    for (std::size_t j = 1; j < n; ++j) acc = f.fold(acc, load(f, s[j] + i));
    put<kStream, b>(f.finish(acc), dst + i);
  }
  return i;
}

template <bool kStream, class F>
HWY_INLINE std::size_t fold_any(const F& f, std::uint8_t* dst, const std::uint8_t* const* sources, std::size_t k,
                                std::size_t begin, std::size_t end) {
  switch (k) {
#if RG_FIXED_COUNTS
    case 2: return fold_many<2, kStream>(f, dst, sources, k, begin, end);
    case 3: return fold_many<3, kStream>(f, dst, sources, k, begin, end);
    case 4: return fold_many<4, kStream>(f, dst, sources, k, begin, end);
#endif
    default: return fold_many<0, kStream>(f, dst, sources, k, begin, end);
  }
}

template <class Family, ReduceOp kOp>
void reduce_bytes(std::uint8_t* dst, const std::uint8_t* const* sources, std::size_t k, std::size_t bytes,
                  bool stream) {
  using Few = typename Family::template Type<kOp, 16>;
  using Many = typename Family::template Type<kOp, HWY_MAX_BYTES>;
  std::size_t done = 0;
  if (bytes >= 2 * kLine) {
    const Many f(k);
    const std::size_t head = (kLine - reinterpret_cast<std::uintptr_t>(dst) % kLine) % kLine;
    if (stream && head % Many::kElement == 0) {  // else no element boundary is aligned: cached stores
      if (head != 0) fold_few(Few(k), dst, sources, k, 0, head);
      done = fold_any<true>(f, dst, sources, k, head, bytes);
    } else {
      done = fold_any<false>(f, dst, sources, k, 0, bytes);
    }
  }
  if (done < bytes) fold_few(Few(k), dst, sources, k, done, bytes);
}

template <class Family>
Row make_row() {
  return {&reduce_bytes<Family, ReduceOp::kSum>, &reduce_bytes<Family, ReduceOp::kAvg>,
          &reduce_bytes<Family, ReduceOp::kProd>, &reduce_bytes<Family, ReduceOp::kMin>,
          &reduce_bytes<Family, ReduceOp::kMax>};
}

// The row of an unsigned type: sum and product wrap, so those of the signed type serve it.
template <class Family>
Row make_unsigned_row(Row row) {
  row[static_cast<std::size_t>(ReduceOp::kAvg)] = &reduce_bytes<Family, ReduceOp::kAvg>;
  row[static_cast<std::size_t>(ReduceOp::kMin)] = &reduce_bytes<Family, ReduceOp::kMin>;
  row[static_cast<std::size_t>(ReduceOp::kMax)] = &reduce_bytes<Family, ReduceOp::kMax>;
  return row;
}

#endif  // RG_HAVE_VECTORS
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // toggle

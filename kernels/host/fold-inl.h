// How one vector of memory is folded: widen() to the type of accumulation, fold() the next source onto it, finish()
// into what is stored. One struct per kind of element; an object carries the constants of one call. Recompiled per
// target.
#if defined(RG_KERNELS_FOLD_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef RG_KERNELS_FOLD_INL
#undef RG_KERNELS_FOLD_INL
#else
#define RG_KERNELS_FOLD_INL
#endif

#include "base/dtype.h"
#include "kernels/host/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS

template <std::size_t kBytes>
using Bytes = hn::CappedTag<std::uint8_t, kBytes>;

// One step of the fold, in the type of accumulation.
template <ReduceOp kOp, class D, class V = hn::Vec<D>>
HWY_INLINE V step(D d, V acc, V next) {
  if constexpr (kOp == ReduceOp::kSum || kOp == ReduceOp::kAvg) return hn::Add(acc, next);
  if constexpr (kOp == ReduceOp::kProd) return multiply(d, acc, next);
  if constexpr (kOp == ReduceOp::kMin) return minimum(d, acc, next);
  if constexpr (kOp == ReduceOp::kMax) return maximum(d, acc, next);
}

struct Nothing {
  explicit HWY_INLINE Nothing(std::size_t) {}
};

// Division of floats by the number of sources; by a power of two the product with its inverse is the same number.
template <class D>
class FloatDivider {
 public:
  explicit HWY_INLINE FloatDivider(std::size_t k)
      : exact_((k & (k - 1)) == 0),
        constant_(
            hn::Set(D(), exact_ ? hn::TFromD<D>(1) / static_cast<hn::TFromD<D>>(k) : static_cast<hn::TFromD<D>>(k))) {}
  HWY_INLINE hn::Vec<D> operator()(hn::Vec<D> v) const {
    return exact_ ? hn::Mul(v, constant_) : hn::Div(v, constant_);
  }

 private:
  bool exact_;
  hn::Vec<D> constant_;
};

template <class D>
struct DividerOf {
  using Type = Divider<D>;
};
template <class D>
requires std::is_floating_point_v<hn::TFromD<D>>
struct DividerOf<D> {
  using Type = FloatDivider<D>;
};

// f64, f32 and integers.
template <class T, ReduceOp kOp, std::size_t kSize>
class Fold {
  using D = hn::CappedTag<T, kSize / sizeof(T)>;
  using Div = typename DividerOf<D>::Type;

 public:
  static constexpr std::size_t kBytes = kSize;
  static constexpr std::size_t kElement = sizeof(T);
  using Raw = hn::Vec<Bytes<kSize>>;
  using Acc = hn::Vec<D>;
  explicit HWY_INLINE Fold(std::size_t k) : divide_(k) {}
  HWY_INLINE Acc widen(Raw raw) const { return hn::BitCast(D(), raw); }
  HWY_INLINE Acc fold(Acc acc, Acc next) const { return step<kOp>(D(), acc, next); }
  HWY_INLINE Raw finish(Acc acc) const {
    if constexpr (kOp == ReduceOp::kAvg) acc = divide_(acc);
    return hn::BitCast(Bytes<kSize>(), canonical(D(), acc));
  }

 private:
  std::conditional_t<kOp == ReduceOp::kAvg, Div, Nothing> divide_;
};

// f16 and bf16: accumulated in f32, rounded once.
template <template <class> class Lanes, ReduceOp kOp, std::size_t kSize>
class HalfFold {
  using D = hn::CappedTag<float, kSize / sizeof(float)>;
  using L = Lanes<D>;

 public:
  static constexpr std::size_t kBytes = kSize;
  static constexpr std::size_t kElement = 2;
  using Raw = hn::Vec<Bytes<kSize>>;
  using Acc = Pair<D>;
  explicit HWY_INLINE HalfFold(std::size_t k) : divide_(k) {}
  HWY_INLINE Acc widen(Raw raw) const { return L::widen(hn::BitCast(hn::RebindToUnsigned<D>(), raw)); }
  HWY_INLINE Acc fold(Acc acc, Acc next) const {
    return {step<kOp>(D(), acc.a, next.a), step<kOp>(D(), acc.b, next.b)};
  }
  HWY_INLINE Raw finish(Acc acc) const {
    if constexpr (kOp == ReduceOp::kAvg) acc = {divide_(acc.a), divide_(acc.b)};
    acc = {canonical(D(), acc.a), canonical(D(), acc.b)};
    return hn::BitCast(Bytes<kSize>(), L::narrow(acc));
  }

 private:
  std::conditional_t<kOp == ReduceOp::kAvg, FloatDivider<D>, Nothing> divide_;
};

// Families: what a row of the table is made from.
template <class T>
struct Plain {
  template <ReduceOp kOp, std::size_t kSize>
  using Type = Fold<T, kOp, kSize>;
};
struct F16 {
  template <ReduceOp kOp, std::size_t kSize>
  using Type = HalfFold<F16Lanes, kOp, kSize>;
};
struct BF16 {
  template <ReduceOp kOp, std::size_t kSize>
  using Type = HalfFold<BF16Lanes, kOp, kSize>;
};

#endif  // RG_HAVE_VECTORS
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // toggle

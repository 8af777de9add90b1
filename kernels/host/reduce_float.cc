// f64 and f32.
#include "kernels/host/table.h"
#include "kernels/host/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/host/reduce_float.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/host/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS
Row f64() { return make_row<Plain<double>>(); }
Row f32() { return make_row<Plain<float>>(); }
#endif
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace regroup::kernels::host {
Row f64_row(std::int64_t target) {
  const auto make = RG_FUNCTION_OF(target, f64);
  return make();
}
Row f32_row(std::int64_t target) {
  const auto make = RG_FUNCTION_OF(target, f32);
  return make();
}
}  // namespace regroup::kernels::host
#endif

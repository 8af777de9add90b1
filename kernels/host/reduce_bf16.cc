// bf16.
#include "kernels/host/table.h"
#include "kernels/host/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/host/reduce_bf16.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/host/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS
Row bf16() { return make_row<BF16>(); }
#endif
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace regroup::kernels::host {
Row bf16_row(std::int64_t target) {
  const auto make = RG_FUNCTION_OF(target, bf16);
  return make();
}
}  // namespace regroup::kernels::host
#endif

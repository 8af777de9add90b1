// Integers of 32 bits.
#include "kernels/host/table.h"
#include "kernels/host/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/host/reduce_int32.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/host/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS
Row i32() { return make_row<Plain<std::int32_t>>(); }
Row u32() { return make_unsigned_row<Plain<std::uint32_t>>(i32()); }
#endif
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace regroup::kernels::host {
Row i32_row(std::int64_t target) {
  const auto make = RG_FUNCTION_OF(target, i32);
  return make();
}
Row u32_row(std::int64_t target) {
  const auto make = RG_FUNCTION_OF(target, u32);
  return make();
}
}  // namespace regroup::kernels::host
#endif

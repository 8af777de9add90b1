// Integers of 8 bits.
#include "kernels/host/table.h"
#include "kernels/host/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/host/reduce_int8.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/host/reduce-inl.h"

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS
Row i8() { return make_row<Plain<std::int8_t>>(); }
Row u8() { return make_unsigned_row<Plain<std::uint8_t>>(i8()); }
#endif
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace regroup::kernels::host {
Row i8_row(std::int64_t target) {
  const auto make = RG_FUNCTION_OF(target, i8);
  return make();
}
Row u8_row(std::int64_t target) {
  const auto make = RG_FUNCTION_OF(target, u8);
  return make();
}
}  // namespace regroup::kernels::host
#endif

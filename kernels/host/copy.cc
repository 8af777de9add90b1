// Copy with non-temporal stores, whole cache lines of the destination at a time.
#include "kernels/host/table.h"
#include "kernels/host/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/host/copy.cc"
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace regroup::kernels::HWY_NAMESPACE {
#if RG_HAVE_VECTORS
namespace hn = hwy::HWY_NAMESPACE;

void stream_copy(std::uint8_t* dst, const std::uint8_t* src, std::size_t bytes) {
  const hn::CappedTag<std::uint8_t, HWY_MAX_BYTES> d;
  constexpr std::size_t b = HWY_MAX_BYTES;
  constexpr std::size_t line = 64;
  constexpr std::size_t ahead = 2048;  // the hardware's own stops at a page
  std::size_t i = 0;
  if (bytes >= 2 * line) {
    i = (line - reinterpret_cast<std::uintptr_t>(dst) % line) % line;
    std::memcpy(dst, src, i);
    for (; i + 4 * b <= bytes; i += 4 * b) {
      for (std::size_t k = 0; k < 4 * b; k += line) hwy::Prefetch(src + i + ahead + k);
      const auto v0 = hn::LoadU(d, src + i);
      const auto v1 = hn::LoadU(d, src + i + b);
      const auto v2 = hn::LoadU(d, src + i + 2 * b);
      const auto v3 = hn::LoadU(d, src + i + 3 * b);
      hn::Stream(v0, d, dst + i);
      hn::Stream(v1, d, dst + i + b);
      hn::Stream(v2, d, dst + i + 2 * b);
      hn::Stream(v3, d, dst + i + 3 * b);
    }
    for (; i + b <= bytes; i += b) hn::Stream(hn::LoadU(d, src + i), d, dst + i);
  }
  std::memcpy(dst + i, src + i, bytes - i);
}
#endif
}  // namespace regroup::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace regroup::kernels::host {
StreamCopyFn stream_copy_for(std::int64_t target) { return RG_FUNCTION_OF(target, stream_copy); }
}  // namespace regroup::kernels::host
#endif

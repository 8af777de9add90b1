#include "runtime/obs/ticks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace regroup {
namespace {

bool has_invariant_counter() noexcept {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0x80000007, &a, &b, &c, &d) != 0 && (d & (1u << 8)) != 0;
#else
  return false;
#endif
}

}  // namespace

TickClock::TickClock() : counter_(has_invariant_counter()), begin_(pair()) {}

TickClock::Pair TickClock::pair() const noexcept {
  // The narrowest of a few tries: a preemption between the two readings would shift every stamp.
  Pair best;
  std::uint64_t narrowest = UINT64_MAX;
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t before = read();
    const std::int64_t ns = now().ns;
    const std::uint64_t after = read();
    if (after - before < narrowest) narrowest = after - before, best = {before + (after - before) / 2, ns};
  }
  return best;
}

std::int64_t TickClock::ns_of(std::uint64_t ticks, const Pair& until) const noexcept {
  if (!counter_) return static_cast<std::int64_t>(ticks);
  if (ticks <= begin_.ticks || until.ticks <= begin_.ticks) return begin_.ns;
  if (ticks >= until.ticks) return until.ns;
  const auto part =
      static_cast<long double>(ticks - begin_.ticks) / static_cast<long double>(until.ticks - begin_.ticks);
  return begin_.ns + static_cast<std::int64_t>(part * static_cast<long double>(until.ns - begin_.ns));
}

}  // namespace regroup

// TickClock: time stamps of a few nanoseconds' cost, turned into CLOCK_MONOTONIC only when they are read back.
// The processor's invariant time-stamp counter where it has one, else CLOCK_MONOTONIC itself (a vDSO call).
// A value: const after construction, any thread.
#pragma once

#include <cstdint>

#include "base/clock.h"
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace regroup {

class TickClock {
 public:
  // A pair of readings taken at the same moment.
  struct Pair {
    std::uint64_t ticks = 0;
    std::int64_t ns = 0;
  };

  TickClock();
  [[nodiscard]] std::uint64_t read() const noexcept {
#if defined(__x86_64__)
    if (counter_) return __rdtsc();
#endif
    return static_cast<std::uint64_t>(now().ns);
  }
  // The pair of now; a stamp between construction and then is interpolated between the two (nothing is extrapolated, so
  // the error stays that of the two pairs, well below a microsecond).
  [[nodiscard]] Pair pair() const noexcept;
  [[nodiscard]] std::int64_t ns_of(std::uint64_t ticks, const Pair& until) const noexcept;

 private:
  bool counter_ = false;
  Pair begin_;
};

}  // namespace regroup

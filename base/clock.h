// The monotonic clock. Never included by ft/core, which is fed Instants.
#pragma once

#include <ctime>

#include "base/time.h"

namespace regroup {

inline Instant now() noexcept {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return {static_cast<std::int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec};
}

// The same clock as of its last tick: up to 10 ms behind, a few nanoseconds to read. For bounds of seconds.
inline Instant now_coarse() noexcept {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
  return {static_cast<std::int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec};
}

}  // namespace regroup

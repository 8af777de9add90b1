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

}  // namespace regroup

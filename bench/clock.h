// The monotonic clock as nanoseconds and seconds: the same for all processes of a machine.
#pragma once

#include <cstdint>
#include <ctime>

namespace regroup::bench {

inline std::int64_t now_ns() {
  timespec ts{};
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<std::int64_t>(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec;
}

inline double now_s() { return static_cast<double>(now_ns()) / 1e9; }

}  // namespace regroup::bench

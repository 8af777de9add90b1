// Throttle: a bound on bytes per second, as a token bucket. Pure: time is passed in. One thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"

namespace regroup::state {

class Throttle {
 public:
  // 0: no bound. What may go at once: 20 ms' worth.
  explicit Throttle(std::uint64_t bytes_per_s) : rate_(bytes_per_s) {}
  // How long to wait before these bytes; they count as sent.
  Duration take(std::uint64_t bytes, Instant now) {
    if (rate_ == 0) return {};
    free_at_ = std::max(free_at_, Instant{std::max<std::int64_t>(now.ns - kBurst.ns, 0)});
    const Duration wait = std::max(free_at_ - now, Duration{});
    free_at_ = free_at_ + Duration{static_cast<std::int64_t>(static_cast<double>(bytes) / static_cast<double>(rate_) * 1e9)};
    return wait;
  }

 private:
  static constexpr Duration kBurst = Duration::from_ms(20);
  std::uint64_t rate_;
  Instant free_at_{0};
};

}  // namespace regroup::state

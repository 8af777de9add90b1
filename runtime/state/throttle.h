// What a transfer may cost. Throttle: a bound on bytes per second, as a token bucket. CpuShare: a bound on the CPU time of the
// thread that serves it, since that (and the memory traffic behind it) is what others on the host lose; a transfer that a
// slow network holds back costs little of it and is not slowed. Pure: time is passed in. One thread at a time.
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

class CpuShare {
 public:
  // share: of a core; 0: no bound. `free`: CPU time that is not counted, so that a short transfer ends at once.
  CpuShare(double share, Duration free) : share_(share), credit_ns_(static_cast<double>(free.ns)) {}
  // How long to rest, with so much CPU time used since the last call.
  Duration rest(Duration used, Instant now) {
    if (share_ <= 0) return {};
    if (last_.ns != 0 && credit_ns_ < kMost)
      credit_ns_ = std::min(kMost, credit_ns_ + share_ * static_cast<double>(std::max<std::int64_t>((now - last_).ns, 0)));
    last_ = now;
    credit_ns_ -= static_cast<double>(used.ns);
    return Duration{credit_ns_ >= 0 ? 0 : static_cast<std::int64_t>(-credit_ns_ / share_)};
  }

 private:
  static constexpr double kMost = 1e6;  // what an idle time saves up
  double share_, credit_ns_;
  Instant last_{0};
};

}  // namespace regroup::state

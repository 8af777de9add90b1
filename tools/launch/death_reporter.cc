#include "tools/launch/death_reporter.h"

#include <algorithm>

#include "base/clock.h"

namespace regroup::launch {
namespace {

constexpr Duration kPause = Duration::from_ms(20);

}  // namespace

std::optional<Incarnation> DeathReporter::look(std::size_t rank, Instant at) {
  const DeathReading reading = table_.read(rank);
  if (!reading.died || reading.inc.is_null() || reading.inc == seen_[rank]) return std::nullopt;
  seen_[rank] = reading.inc;
  untold_.push_back({reading.inc, at});
  again_at_ = std::min(again_at_, at);
  return reading.inc;
}

std::vector<Incarnation> DeathReporter::tell(Instant at) {
  std::vector<Incarnation> told;
  std::erase_if(untold_, [&](const Untold& u) { return at - u.since > kGiveUp; });
  while (!untold_.empty() && at >= again_at_) {
    const Instant begin = now();
    const Status status = report_death(to_, untold_.front().who, kBound);
    if (!status.ok()) {
      // Nobody there, or it does not answer: the launcher has other things to do, so at most a third of its time.
      again_at_ = now() + std::max(kPause, (now() - begin) * 2);
      break;
    }
    told.push_back(untold_.front().who);
    untold_.erase(untold_.begin());
  }
  return told;
}

}  // namespace regroup::launch

#include "ft/core/detector.h"

#include <algorithm>

namespace regroup {

void Detector::heard(const Incarnation& who, Instant now) {
  auto it = deadline_.find(who);
  if (it == deadline_.end()) return;
  it->second = std::max(it->second, now + suspicion_);
  heard_[who] = now;
}

void Detector::shorten(const Incarnation& who, Instant now, Duration grace) {
  if (auto it = deadline_.find(who); it != deadline_.end()) it->second = std::min(it->second, now + grace);
}

std::vector<Incarnation> Detector::tick(Instant now) {
  if (last_tick_.ns != 0 && now - last_tick_ > max_gap_) {
    const Duration lost = (now - last_tick_) - max_gap_;
    for (auto& [who, deadline] : deadline_) deadline = std::max(deadline, std::min(deadline + lost, now + suspicion_));
  }
  last_tick_ = now;
  std::vector<Incarnation> suspects;
  for (const auto& [who, deadline] : deadline_)
    if (deadline <= now) suspects.push_back(who);
  return suspects;
}

}  // namespace regroup

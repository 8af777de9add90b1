// Detector: suspects who was not heard of for too long. Pure; fed with Instants.
//
// It counts only time in which it ran itself: when the gap between two ticks is longer than `max_gap` (a pause of our own
// process, a clock that jumped), the excess is not held against anybody. Wrong suspicion costs speed, never safety.
// The driver drains its sockets before it ticks.
#pragma once

#include <map>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace regroup {

class Detector {
 public:
  Detector(Duration suspicion, Duration max_gap) : suspicion_(suspicion), max_gap_(max_gap) {}

  void watch(const Incarnation& who, Instant now) { deadline_.try_emplace(who, now + suspicion_); }
  void heard(const Incarnation& who, Instant now);
  // Something is wrong (its connection closed): suspect it unless it is heard of within `grace`.
  void shorten(const Incarnation& who, Instant now, Duration grace);
  void forget(const Incarnation& who) { deadline_.erase(who), heard_.erase(who); }
  [[nodiscard]] bool heard_after(const Incarnation& who, Instant then) const {
    auto it = heard_.find(who);
    return it != heard_.end() && it->second > then;
  }
  // Whoever's deadline has passed. They stay watched until forgotten or heard again.
  [[nodiscard]] std::vector<Incarnation> tick(Instant now);

 private:
  friend struct StateAccess;  // the explorer compares whole states
  Duration suspicion_;
  Duration max_gap_;
  Instant last_tick_{0};
  std::map<Incarnation, Instant> deadline_;
  std::map<Incarnation, Instant> heard_;
};

}  // namespace regroup

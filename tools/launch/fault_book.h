// FaultBook: which faults of a run are still to come, and which have happened. Pure: fed events and times.
//
// Faults of one rank happen in the order written (those of steps in the order of steps). Step and failpoint faults are
// armed in the victim through REGROUP_FAILPOINTS when a life begins: every stop still to come, and the next kill (a
// kill ends the life, the one behind it is for a later life), so a death is always put down to the right fault. Time
// faults are injected by the launcher, when due() says so. Threading: one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "tools/launch/chaos_spec.h"

namespace regroup::launch {

class FaultBook {
 public:
  explicit FaultBook(std::vector<Fault> faults);

  // What to arm in the next life of a rank: "step#60=kill,after_first_chunk#2=stop"; empty: nothing.
  [[nodiscard]] std::string arm(int rank) const;
  // The rank ended with SIGKILL, or was seen stopped, and the launcher did not do it: the first armed fault of that
  // kind has happened. None: it was somebody else.
  std::optional<Fault> killed(int rank);
  std::optional<Fault> stopped(int rank);

  // The next time fault whose moment has come; `since` is the time since the ranks were started. A fault that
  // `can_happen` refuses (its target is not running just now) waits.
  template <typename CanHappen>
  std::optional<Fault> due(Duration since, const CanHappen& can_happen) {
    for (std::size_t i = 0; i < pending_.size(); ++i)
      if (pending_[i].trigger == Fault::Trigger::kTime && pending_[i].at <= since && can_happen(pending_[i]))
        return take(i);
    return std::nullopt;
  }
  // When due() is to be asked next; never() where no time fault is pending.
  [[nodiscard]] Instant next_due(Instant started) const;
  // Faults that have not happened.
  [[nodiscard]] const std::vector<Fault>& pending() const { return pending_; }

 private:
  std::optional<Fault> take_armed(int rank, Fault::Action action);
  Fault take(std::size_t index);
  std::vector<Fault> pending_;
};

}  // namespace regroup::launch

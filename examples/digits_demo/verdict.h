// Verdict: what a run with faults proves, from its records alone.
//
// Lost step: a step number that no view committed, or that a member of the committing view which lived on did not commit
// or replay (receive with its restored state) exactly once. Digests: equal per step among all who committed it, and at the
// end over all replicas, rejoined ones included. Recovery: from the victim's last record before the fault (at or before
// the fault itself) to the last survivor's first commit in a view without the victim. Join gap: the longest pause between
// two commits of a survivor around the view that took the joiner in.
#pragma once

#include <string>
#include <vector>

#include "examples/digits_demo/records.h"

namespace digits {

struct Verdict {
  std::uint64_t steps = 0, lost_steps = 0;
  unsigned kills = 0, kills_mid_op = 0, stops = 0, joins = 0, redone = 0;
  std::vector<double> recovery_ms;  // one per fault, in order of time
  double join_gap_ms_max = 0;
  double accuracy = 0, reference_accuracy = 0;
  bool digests_equal = false;
  std::vector<std::string> wrong;  // every rule that was broken, in words
  [[nodiscard]] bool good() const { return wrong.empty(); }
};

[[nodiscard]] Verdict judge(const RunRecord& run, std::uint64_t steps, int replicas, double reference_accuracy);
[[nodiscard]] double median(std::vector<double> values);

}  // namespace digits

#include "examples/digits_demo/verdict.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace digits {
namespace {

constexpr double kMinAccuracy = 0.95, kMaxDifference = 0.02;

bool contains(const std::vector<int>& list, int value) { return std::find(list.begin(), list.end(), value) != list.end(); }

// A replica of the committing view without a commit of its own is excused when that life ended there, or when a later
// state of its contains the step.
bool excused(const RunRecord& run, int replica, std::uint64_t step) {
  for (const Life& life : run.lives) {
    if (life.replica != replica) continue;
    for (const Entry& e : life.entries)
      if (e.step >= step) return true;
    const bool died = !life.left && !life.final;
    const std::uint64_t reached = life.commits.empty() ? 0 : life.commits.back().step;
    if (died && reached < step) return true;
  }
  return false;
}

void count_lost(const RunRecord& run, Verdict& v) {
  std::map<std::uint64_t, std::map<int, unsigned>> commits;  // step -> replica -> times
  std::map<std::uint64_t, std::set<int>> expected;
  for (const Life& life : run.lives)
    for (const Commit& c : life.commits) {
      ++commits[c.step][life.replica];
      expected[c.step].insert(c.members.begin(), c.members.end());
    }
  for (std::uint64_t step = 1; step <= v.steps; ++step) {
    bool lost = !commits.contains(step);
    for (int replica : expected[step]) {
      const auto it = commits[step].find(replica);
      lost = lost || (it == commits[step].end() ? !excused(run, replica, step) : it->second != 1);
    }
    v.lost_steps += lost;
  }
}

void compare_digests(const RunRecord& run, int replicas, Verdict& v) {
  std::map<std::uint64_t, std::set<std::string>> per_step;
  std::set<std::string> at_end;
  std::set<int> ended;
  for (const Life& life : run.lives) {
    for (const Commit& c : life.commits) per_step[c.step].insert(c.digest);
    if (!life.final) continue;
    at_end.insert(life.final_digest);
    ended.insert(life.replica);
    v.accuracy = life.accuracy;
    if (life.final_step != v.steps) v.wrong.push_back("replica " + std::to_string(life.replica) + " ended at another step");
  }
  const bool steps_equal = std::all_of(per_step.begin(), per_step.end(), [](const auto& s) { return s.second.size() == 1; });
  v.digests_equal = steps_equal && at_end.size() == 1 && static_cast<int>(ended.size()) == replicas;
}

double recovery(const RunRecord& run, const FaultSeen& fault) {
  std::int64_t from = 0;
  for (const Life& life : run.lives)
    if (life.replica == fault.replica)
      for (std::int64_t t : life.records)
        if (t <= fault.t) from = std::max(from, t);
  std::int64_t until = 0;
  for (const Life& life : run.lives) {
    if (life.replica == fault.replica || life.begin > from) continue;
    const auto first = std::find_if(life.commits.begin(), life.commits.end(), [&](const Commit& c) {
      return c.t > from && !contains(c.members, fault.replica);
    });
    if (first != life.commits.end()) until = std::max(until, first->t);
  }
  return until == 0 ? -1 : static_cast<double>(until - from) / 1e6;
}

double join_gap(const RunRecord& run, const Life& joiner, const Entry& entry) {
  double gap = 0;
  for (const Life& life : run.lives) {
    if (&life == &joiner) continue;
    for (std::size_t i = 1; i < life.commits.size(); ++i)
      if (life.commits[i].epoch >= entry.epoch && life.commits[i - 1].epoch == entry.epoch - 1)
        gap = std::max(gap, static_cast<double>(life.commits[i].t - life.commits[i - 1].t) / 1e6);
  }
  return gap;
}

}  // namespace

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Verdict judge(const RunRecord& run, std::uint64_t steps, int replicas, double reference_accuracy) {
  Verdict v;
  v.steps = steps;
  v.reference_accuracy = reference_accuracy;
  count_lost(run, v);
  compare_digests(run, replicas, v);
  for (const FaultSeen& f : run.faults) {
    (f.kill ? v.kills : v.stops) += 1;
    v.kills_mid_op += f.kill && f.mid_op;
    const double ms = recovery(run, f);
    if (ms < 0) v.wrong.push_back("no survivor committed after " + f.text);
    else v.recovery_ms.push_back(ms);
  }
  for (const Life& life : run.lives) {
    for (const Commit& c : life.commits) v.redone += c.attempts > 1;
    for (const Entry& e : life.entries)
      if (e.restored || e.epoch > 1) {
        ++v.joins;
        v.join_gap_ms_max = std::max(v.join_gap_ms_max, join_gap(run, life, e));
      }
  }
  if (v.lost_steps != 0) v.wrong.push_back(std::to_string(v.lost_steps) + " steps were lost");
  if (!v.digests_equal) v.wrong.push_back("state digests differ, or a replica did not end");
  if (!run.faults.empty() && v.redone == 0) v.wrong.push_back("no op took two attempts: no fault hit an operation");
  if (v.accuracy < kMinAccuracy) v.wrong.push_back("accuracy is below 0.95");
  if (std::fabs(v.accuracy - reference_accuracy) > kMaxDifference) v.wrong.push_back("accuracy differs from the reference by over 0.02");
  return v;
}

}  // namespace digits

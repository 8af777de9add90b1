// The experiment of recovery_perf: again and again a member of a full, working view is killed or stopped at a random
// moment, the survivors' first commits without it are timed, and it is brought back. One thread. Every wait has a
// bound.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench/recovery/arguments.h"
#include "bench/recovery/fleet.h"

namespace regroup::bench {

struct RecoveryResult {
  std::vector<double> kill_to_commit_ms;  // signal to the last survivor's first commit in a view without the victim
  std::vector<double> first_commit_ms;    // to the first survivor's
  std::vector<double> rejoin_ms;          // restart, or continue, to the victim's first commit
  std::vector<double> join_gap_ms;        // the longest time between two commits of a survivor meanwhile
  std::vector<double> op_ms;              // undisturbed ops of full views
  std::vector<std::string> kills_json;    // one line a kill: its time and its victim
  int kills = 0;
  int kills_mid_op = 0;     // the victim had begun an op and not seen its outcome
  int extra_evictions = 0;  // survivors that were told they are out
};

class Experiment {
 public:
  Experiment(const RecoveryArguments& arguments, Fleet& fleet);
  // `progress` is called after every kill. kTimeout: a hang, with what the fleet knows in the detail.
  Status run(const std::function<void(const RecoveryResult&)>& progress);
  [[nodiscard]] const RecoveryResult& result() const { return result_; }
  [[nodiscard]] const Ledger& ledger() const { return ledger_; }

 private:
  struct Watch {  // what a kill waits for, per member
    std::int64_t after_ns = 0;
    std::uint64_t victim_bit = 0;
    std::vector<std::int64_t> first_without;  // commit time, 0: not yet
  };
  Status one_kill();
  Status wait_until(const std::string& what, const std::function<bool()>& done);
  Status wait_random_moment();
  Status measure(std::size_t victim);
  Status bring_back(std::size_t victim);
  void on_commit(std::size_t member, const Commit& commit);
  std::uint64_t random_below(std::uint64_t n);

  const RecoveryArguments& arguments_;
  Fleet& fleet_;
  Ledger ledger_;
  RecoveryResult result_;
  Watch watch_;
  const std::uint64_t full_;                 // all ranks' bits
  std::vector<std::uint64_t> full_commits_;  // per member, since the last signal
  std::vector<std::int64_t> last_commit_ns_;
  std::int64_t longest_gap_ns_ = 0;  // of members but `gap_excludes_`
  std::size_t gap_excludes_ = 0;
  std::uint64_t random_;
};

}  // namespace regroup::bench

// The experiment of catchup_perf: a rank is killed, the others train on; after an undisturbed stretch it comes back, and
// what that costs the others is what the longest gap between their commits says. One thread.
#pragma once

#include <sys/types.h>

#include <functional>

#include <string>
#include <vector>

#include "bench/catchup/page.h"
#include "bench/processes.h"

namespace regroup::bench::catchup {

struct Arguments {
  int ranks = 4;
  std::uint64_t state = 64u << 20, touch = 16u << 20, grad = 1u << 20, rate = 0;
  double step_ms = 50, share = -1;
  int joins = 10;
  std::string transport = "auto", json;
  std::string host = "127.0.0.1";     // where the coordinator listens
  std::vector<std::string> rank_in;   // put before a rank's command, "%r" is the rank: a network namespace of its own
  int joiner_kills = 0;         // before every join: so often is the joiner killed while it joins
  std::string fault = "none";   // during the join: of a source (source-kill, source-stop, source-corrupt), or both-kill
};

struct Join {
  double gap_before_ms = 0, gap_during_ms = 0;   // longest gap between commits of a survivor
  double mean_before_ms = 0, mean_during_ms = 0; // of the steps
  double gap_fetch_ms = 0, gap_replay_ms = 0, gap_enter_ms = 0;  // of gap_during: by what the joiner did meanwhile
  double fetch_ms = 0, replay_ms = 0;            // how long it did that
  int stalled = 0;                               // gaps over twice gap_before_ms
  double length_ms = 0;                          // join called -> first contribution committed
  double contributor_ms = 0;                     // join called -> join has returned: it takes part in the step at hand
  std::uint64_t replayed = 0, snapshots = 0;
  std::vector<std::uint64_t> bytes_per_source;
  bool digests_equal = false;
  std::string trouble;
  double kill_to_commit_ms = 0;       // of the rank before it joins: to the last survivor's first commit without it
  int killed_joining = 0;             // kills that met the joiner before it was in a view
  std::uint64_t redone_for_them = 0;  // ops that the others did again because of those
  std::int64_t descriptors_more = 0, resident_more_kib = 0;  // of rank 0, from the second kill to the last
};

class Experiment {
 public:
  explicit Experiment(Arguments arguments) : arguments_(std::move(arguments)) {}
  ~Experiment();
  Status start();
  Result<Join> join_once();

 private:
  Status start_rank(int rank);
  Status wait(const std::function<bool()>& holds, const std::string& what, double bound_s = 120);
  [[nodiscard]] std::uint64_t steps(int rank) const { return page_->parts[rank].head.load(std::memory_order_acquire); }
  // Of the survivors in [from, to]: longest gap, mean, gaps over `limit_ms`.
  struct Gaps {
    double longest_ms = 0, mean_ms = 0;
    int over = 0;
  };
  [[nodiscard]] Gaps gaps(std::int64_t from, std::int64_t to, double limit_ms) const;
  Status compare_digests(Join& join);
  // To the last survivor's first commit of so many members after `from`.
  [[nodiscard]] double commit_after_ms(std::int64_t from, int members) const;
  // faults.cc
  struct Cost {
    std::uint64_t redone = 0, descriptors = 0, resident_kib = 0;
  };
  [[nodiscard]] Cost cost() const;
  Result<bool> kill_joiner(double after_ms);
  Status kill_joiners(Join& join);
  Status corrupt_source();
  Status hurt_source(double after_ms);
  Status mend_source();

  Arguments arguments_;
  TemporaryFolder folder_;
  CoordinatorProcess coordinator_;
  Page* page_ = nullptr;
  int fd_ = -1;
  std::vector<pid_t> pids_;
  double last_length_ms_ = 1000;
};

}  // namespace regroup::bench::catchup

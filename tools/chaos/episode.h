// Episode: one group in one arena, fault after fault, until its time is up. Between two faults all members must commit in
// the full view again. The recovery of a fault is the time from it to the new view, installed at the last survivor.
//
// One thread. Every wait has a bound; one that passes is a hang and ends the episode. After an error: destroy it.
#pragma once

#include <functional>
#include <vector>

#include "base/rng.h"
#include "tools/chaos/fleet.h"
#include "tools/chaos/tally.h"

namespace regroup::chaos {

class Episode {
 public:
  Episode(FleetSetup setup, std::uint64_t seed, Tally& tally);
  // Hangs, wrong results and unexpected ends go into the tally; an error: it could not be started.
  Status run(Instant until, const std::function<void()>& progress);

 private:
  using Bits = std::uint64_t;
  [[nodiscard]] static Bits bit(int rank) { return Bits{1} << rank; }

  // Waiting (episode.cc).
  Status wait_until(const std::string& what, Duration bound, const std::function<bool()>& done);
  Status wait_for(Duration time);
  Status wait_full();  // everybody commits in the full view
  Status drain();
  [[nodiscard]] Duration hang_bound() const { return {static_cast<std::int64_t>(setup_.arguments.hang_s * 1e9)}; }
  void on_commit(int rank, const Commit& commit);
  void on_view(int rank, const SeenView& view);
  // When the last rank that is not in `ignoring` installed its first view after `from` with none of `without` in it; 0:
  // not all have yet.
  [[nodiscard]] Instant last_view(Bits without, Bits ignoring, Instant from) const;
  // Likewise of commits, in views behind epoch `above`.
  [[nodiscard]] Instant last_commit(Bits ignoring, Instant from, std::uint64_t above) const;
  // The last epoch before that of the first view without `victims` after `from`, at any survivor.
  [[nodiscard]] std::uint64_t epoch_before(Bits victims, Instant from) const;
  void recovered(const std::string& kind, Duration view, Duration commit);
  // Waits for both, victims ignored, then into the tally. A victim that stood still since `since` may have been evicted
  // before `from`: then there is nothing to measure.
  Status measure(const std::string& kind, Bits victims, Instant from, Instant since);
  Status measure(const std::string& kind, Bits victims, Instant from) { return measure(kind, victims, from, from); }
  // For faults that need no view change: waits until all have committed; a view that came is measured too.
  Status measure_commit(const std::string& kind, Instant from);
  // For hosts that are slow or lossy and may stay: the longest time without a commit at any other rank since `from`, until
  // all of those have committed again, in the place of the time to the view.
  Status measure_stall(const std::string& kind, Bits victims, Instant from);
  Status end_of_life(Status status);
  void sample();
  [[nodiscard]] std::optional<Tally::Growth> growth() const;

  // Faults (episode_faults.cc). Each leaves all processes running and all links whole.
  Status fault(FaultKind kind);
  Status kill();
  Status view_change_kill();
  Status stop();
  Status partition();
  Status coordinator();
  Status duplicate();
  Status join();
  Status restart(int rank, const std::string& points = "");
  // Lets the rank be a process that stops itself at the point, and waits until it has; false: the point was not reached.
  Result<Instant> stop_at(int rank, const std::string& point, const std::function<Status()>& meanwhile = {});
  Result<int> kill_and_arm(int rank, const std::string& point);
  Duration drawn(int low_ms, int high_ms);
  [[nodiscard]] int drawn_rank(bool may_be_spared = false);
  [[nodiscard]] std::string drawn_point();  // of an op, at a rank that comes back

  FleetSetup setup_;
  Rng rng_;
  Tally& tally_;
  Ledger ledger_;
  const Bits full_;
  std::vector<std::uint64_t> full_commits_;  // by rank, since the last fault was over
  int cycles_ = 0;
  Instant cycle_{0};                         // when the current fault began
  Bits excused_ = 0;                         // ranks that it touches
  std::string how_;                          // what it does, in words
  Bits missed_ = 0;                          // others that a view left out
  struct Seen {
    std::uint64_t epoch;
    Bits members;
    Instant at;
  };
  using SeenBy = std::vector<std::vector<Seen>>;  // by rank, since the cycle began
  [[nodiscard]] static Instant last_of(const SeenBy& seen, Bits ignoring, const std::function<bool(const Seen&)>& counts);
  [[nodiscard]] std::uint64_t epoch_at(Instant from) const;  // the newest view that anybody had installed
  void begin_cycle();
  SeenBy views_, commits_;
  std::uint64_t epoch_ = 0;  // when the cycle began
  std::map<pid_t, std::vector<Fleet::Usage>> usage_;  // samples of every process
  Instant next_sample_{0};
  bool started_ = false;
  Fleet fleet_;  // last: ends first
};

}  // namespace regroup::chaos

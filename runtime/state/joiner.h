// Joiner: an observer's side of catch-up. Fetches the state as of a mark from all members at once, journals the committed
// results meanwhile, replays them, and says when it is level; then it is handed the rest and promoted. Nobody waits for it.
//
// Threads: follow, begin, hand_over, stop from any, none of them blocks; the rest on threads of its own, which overwrite the
// registered state between begin() and stop(). After a failure (sources or feeder lost, journal full, gap): a newer snapshot,
// for ever, until stop(); what cannot be mended (state that differs, apply that fails) is told once through `refused`.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ft/core/messages.h"
#include "runtime/state/fetch_plan.h"
#include "runtime/state/journal.h"
#include "runtime/state/source_link.h"
#include "runtime/state/spill_file.h"

namespace regroup::state {

class Joiner {
 public:
  struct Config {
    std::string group, secret;
    std::vector<StateBuffer> state;
    std::vector<StateBlob> blobs;
    ApplyFunction apply;
    std::size_t journal_bytes = 256u << 20;
    std::uint64_t spill_bytes = 4ull << 30;
    std::string spill_dir;
    std::uint64_t floor = 0;                                        // a step that this member holds: it takes no older state
    std::uint64_t floor_slack = 0;                                  // steps that the members may be behind while it asks
    std::function<void()> overwrites = [] {};                       // the registered state is overwritten from here on
    std::function<void(bool level)> ready;                          // level, or no longer
    std::function<void(const Fetch&, bool ok, std::uint64_t steps)> handed_over;
    std::function<void(const Error&)> refused;
  };
  struct Progress {
    const char* phase = "waits";  // waits, asks, fetches, replays, level, handed over
    std::uint64_t bytes = 0, bytes_total = 0;
    std::uint64_t step = 0;          // of the snapshot
    std::uint64_t replayed = 0;      // steps
    std::uint64_t journal_ops = 0, journal_bytes = 0;
    std::uint32_t rounds = 0;        // snapshots begun
    std::uint64_t kept = 0;          // bytes that a newer snapshot did not move again
    std::uint64_t compared = 0;      // bytes of the state at the hand-over that another member held alike
    double seconds = 0;              // since begin()
    double rate = 0;                 // bytes/s of the transfer
    std::vector<std::pair<MemberId, std::uint64_t>> sources;  // bytes of each, over all rounds
    std::string last_trouble;
  };

  explicit Joiner(Config config);
  ~Joiner();
  void follow(const Welcome& view);
  void begin();
  void hand_over(const Fetch& fetch);
  void stop();
  void wait_over();  // after stop(): until nothing is written any more
  [[nodiscard]] Progress progress() const;

 private:
  struct Round;
  void run();
  Status round();
  Status open_sources(Round& round, const std::vector<MemberInfo>& members);
  Status begin_feed(Round& round);
  Status take(Round& round);
  std::vector<Result<SourceLink::Taken>> take_all(Round& round);
  Status fetch(Round& round);
  void fetch_from(Round& round, std::uint32_t source);
  [[nodiscard]] Error older_than_mine(std::uint64_t step) const;
  Status load_blobs(const Round& round);
  Status replay(Round& round);
  void remember(Round& round);
  [[nodiscard]] bool lied(const MemberInfo& m) const;
  Status compare(Round& round);
  std::optional<bool> agrees(Round& round, const MemberInfo& with, std::uint32_t part, std::uint32_t parts, Instant deadline,
                             std::string& where);
  Result<std::uint64_t> apply_steps(Round& round, OpId limit);
  Status retain_everywhere(Round& round);
  bool take_over_feed(Round& round);
  void feed_loop(Round& round, std::shared_ptr<FeedLink> link);
  bool complete(Round& round, const Fetch& fetch);
  void note(const char* phase);

  Config config_;
  StripeTable table_;
  SpillFile spill_;
  mutable std::mutex mutex_;
  std::condition_variable news_;
  std::vector<MemberInfo> members_;
  Epoch epoch_ = 0;
  std::uint64_t views_ = 0;  // told so far
  std::optional<Fetch> fetch_;
  bool begun_ = false, over_ = false;
  Progress progress_;
  Instant since_{0}, fetch_since_{0};
  // Of the joiner's own thread.
  std::vector<std::optional<std::uint64_t>> known_;  // stripes held as of the last mark, by their digest; empty: none
  bool known_by_one_ = false;                        // there was no second source to say so
  std::vector<Incarnation> liars_;                   // sources that two others contradicted
  std::uint32_t hurry_ = 0;                          // attempts that a full journal or a full snapshot ended
  std::uint32_t differed_ = 0;                       // hand-overs that a single other member contradicted, in a row
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace regroup::state

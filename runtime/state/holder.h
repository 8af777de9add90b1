// Holder: a member's side of catch-up. Knows which step the registered state is as of, keeps it for joiners while the
// owner changes it, and feeds them the committed results. It waits for nobody; what it keeps is bounded.
//
// Threads: begin_update, end_update on the owner's; publish on the engine's (feed()); the rest on the server's threads.
// After a failure: a joiner that goes away takes its snapshot along; a bound that is reached ends the snapshot, not the member.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "regroup/types.h"
#include "runtime/state/feed.h"
#include "runtime/state/snapshot.h"

namespace regroup::state {

[[nodiscard]] StripeTable table_of(std::span<const StateBuffer> state);

class Holder {
 public:
  struct Config {
    std::vector<StateBuffer> state;
    std::vector<StateBlob> blobs;
    std::uint64_t snapshot_bytes = 1ull << 30;
    std::size_t feed_bytes = 256u << 20;
    std::uint64_t rate = 0;              // bytes/s that one joiner is sent; 0: no bound
    double share = 0;                    // of a core, for one joiner; 0: no bound
    std::function<bool()> busy;          // a collective is at hand: transfers wait a little, as in the owner's updates
  };
  struct Version {
    bool known = false;  // false: the owner has not said, so nothing can be given
    std::uint64_t step = 0;
    OpId op = 0;
  };
  struct Taken {
    std::shared_ptr<Snapshot> snapshot;
    Version version;
    std::vector<std::vector<std::byte>> blobs;
  };
  explicit Holder(Config config);

  // The owner is about to change these ranges (empty: anything); afterwards its state is as of `step` and `op`.
  // `op`: the last one settled; the state counts as of the last mark up to it, since a joiner replays whole steps behind it.
  void begin_update(std::span<const StateRange> ranges);
  void end_update(std::uint64_t step, OpId op);
  void set_version(std::uint64_t step, OpId op) { end_update(step, op); }
  // Nobody is given anything until the next set_version: a group was founded, its members have not agreed on the state yet.
  void hide();
  // The state is being overwritten: it is as of no step.
  void forget();
  // As version(), hidden or not: what the owner holds. Not known in the middle of an update.
  [[nodiscard]] Version own() const;
  // A snapshot of everything as of now, on the owner's thread between two updates. It ends when the caller lets go of it.
  std::shared_ptr<Snapshot> begin_all();

  [[nodiscard]] Version version() const;
  [[nodiscard]] bool updating() const;
  // Somebody waits for the state as of this step.
  [[nodiscard]] bool awaited(std::uint64_t step) const;
  // Snapshots that are being given to somebody.
  [[nodiscard]] std::size_t serving() const;
  // The state as of `step`: at once, or when the owner gets there. kUnavailable: it is past that; kTimeout.
  Result<Taken> take(std::uint64_t step, const Snapshot::Share& share, Instant deadline, const std::atomic<bool>& stop, bool with_blobs = true);

  [[nodiscard]] const StripeTable& table() const { return table_; }
  [[nodiscard]] const Config& config() const { return config_; }
  Feed& feed() { return feed_; }

 private:
  [[nodiscard]] std::shared_ptr<Snapshot> begin(const Snapshot::Share& share);
  Config config_;
  StripeTable table_;
  Feed feed_;
  mutable std::mutex mutex_;
  std::condition_variable reached_;
  Version version_;
  bool updating_ = false, hidden_ = false;
  std::uint64_t update_bytes_ = 0;  // named by the last begin_update
  std::multiset<std::uint64_t> awaited_;          // steps that joiners wait for
  std::vector<std::weak_ptr<Snapshot>> snapshots_;
  std::uint64_t blobs_step_ = 0;                  // as of which `blobs_` was saved
  std::vector<std::vector<std::byte>> blobs_;
};

}  // namespace regroup::state

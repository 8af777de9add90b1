// Snapshot: the state of a member as of one mark, for one joiner, while the member trains on. A stripe is read from where
// it lies as long as it is unchanged; just before its owner overwrites it, it is kept: its bytes where they are this
// member's share, its digest where only that is asked of it, nothing otherwise. What is kept is bounded; over the bound the
// snapshot has ended (over()), and the joiner takes a newer one. Source of the method: PROTOCOL.md, Catch-up.
//
// Threads: before_update() on the owner's thread, everything else on the server's. The owner waits for nobody: a reader, which
// may be of low priority and asleep, copies aside and looks afterwards whether the stripe was still there; what it read while
// the owner wrote is thrown away. Nor does it pay for new memory: another thread calls make_spare() ahead. end() waits until
// nobody looks at the owner's memory any more.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/state/stripe_table.h"

namespace regroup::state {

class Snapshot {
 public:
  // What this member keeps of a stripe: of stripe i of n sources, source i % n its bytes, the next one its digest.
  enum class Keep : std::uint8_t { kNothing, kDigest, kBytes };
  using Share = std::function<Keep(std::uint32_t stripe)>;
  static Share share_of(std::uint32_t source, std::uint32_t sources);
  static Share digests_of(std::uint32_t source, std::uint32_t sources);  // of stripes i with i % sources == source, nothing else

  // `at`: where each tensor lies; must outlive the snapshot.
  // `update_bytes`: what the owner changes at a time, as far as is known.
  Snapshot(const StripeTable& table, std::vector<const std::byte*> at, const Share& share, std::uint64_t max_kept_bytes,
           std::uint64_t update_bytes = 0);

  // The owner is about to change these stripes.
  void before_update(StripeTable::Range stripes);
  // Faults in memory for one more stripe that is going to be kept; false: there is enough for two updates like the last.
  bool make_spare();

  enum class Read : std::uint8_t { kOk, kGone, kOver };  // kGone: changed, and not kept here
  [[nodiscard]] Read read(std::uint32_t stripe, std::span<std::byte> into);
  [[nodiscard]] Read digest(std::uint32_t stripe, std::uint64_t& digest);
  // Not asked for again, of anybody: what is kept of it may go.
  void drop(std::uint32_t stripe);
  void end();
  [[nodiscard]] bool over() const;
  [[nodiscard]] std::uint64_t kept_bytes() const;

 private:
  enum class State : std::uint8_t { kThere, kKept, kGone };
  struct Slot {
    State state = State::kThere;
    Keep keep = Keep::kNothing;
    bool told = false;  // the digest below stands
    std::uint64_t digest = 0;
    std::shared_ptr<const std::vector<std::byte>> bytes;  // kKept
  };
  [[nodiscard]] std::span<const std::byte> there(std::uint32_t stripe) const;

  const StripeTable& table_;
  std::vector<const std::byte*> at_;
  const std::uint64_t max_kept_bytes_;
  mutable std::mutex mutex_;
  std::condition_variable unread_;
  std::uint32_t readers_ = 0;  // at work where the stripes lie
  std::vector<Slot> slots_;
  std::uint64_t kept_ = 0;
  std::uint64_t may_keep_ = 0;  // of what is unchanged
  std::uint64_t wanted_ = 0, spare_bytes_ = 0;
  std::vector<std::vector<std::byte>> spare_;
  bool over_ = false;
  std::vector<std::byte> aside_;  // the server's, for digests: memory taken anew for each would be faulted in each time
};

}  // namespace regroup::state

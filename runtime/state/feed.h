// Feed: the last committed results of this member, for observers. The engine's thread publishes after its copy-out and never
// waits; while nobody has subscribed it only counts. Bounded: the oldest result goes, and who needed it is told of the gap.
// Which results (PROTOCOL.md): those that every member holds whole. Threads: any.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <span>

#include "base/time.h"
#include "runtime/state/journal.h"

namespace regroup::state {

class Feed {
 public:
  explicit Feed(std::size_t bound_bytes) : bound_bytes_(bound_bytes) {}

  // Op entry.op is settled. entry.data is ignored; `data` is copied where somebody listens.
  void publish(Entry entry, std::span<const std::byte> data);
  // The last op settled here was `op`: a new life begins behind it.
  void begin(OpId op);

  // The last op settled here that ended a step, since begin(); 0: none yet.
  [[nodiscard]] OpId last_mark() const;
  // All ops behind the one returned will be here, until unsubscribe().
  OpId subscribe();
  void unsubscribe();
  enum class Next : std::uint8_t { kOk, kNotYet, kGap };
  // Waits at most so long.
  Next next(OpId op, Duration wait, std::shared_ptr<const Entry>& out);
  [[nodiscard]] OpId first() const;  // lowest op that is here, or will be the next

 private:
  const std::size_t bound_bytes_;
  mutable std::mutex mutex_;
  std::condition_variable news_;
  std::deque<std::shared_ptr<const Entry>> ring_;
  std::vector<std::byte> spare_;  // memory of the last one that went, kept so that publishing faults in no page
  std::size_t bytes_ = 0;
  OpId last_ = 0, last_mark_ = 0;
  int subscribers_ = 0;
};

}  // namespace regroup::state

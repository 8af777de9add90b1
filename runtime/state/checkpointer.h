// Checkpointer: writes the state that a holder keeps, beside the training. The members take turns: of the k-th checkpoint
// member k mod n. The owner's thread only begins a snapshot; what it overwrites meanwhile is kept (copy on write, bounded
// by snapshot_bytes). One at a time: while one is being written the next is left out, and counted.
// Threads: due, begin on the owner's; report from any. After a failure: counted and told in `trouble`; the training goes on,
// the last checkpoint stands.
#pragma once

#include <atomic>
#include <mutex>
#include <string>

#include "base/worker.h"
#include "regroup/types.h"
#include "runtime/state/checkpoint_dir.h"
#include "runtime/state/holder.h"

namespace regroup::state {

class Checkpointer {
 public:
  Checkpointer(CheckpointDir dir, Holder& holder, std::uint64_t every) : dir_(std::move(dir)), holder_(holder), every_(every) {}
  ~Checkpointer() { stop(); }
  void stop();  // gives up what is being written; nothing of the state is looked at any more
  // Step `step` is one that this member, of index `self` of `members`, writes.
  [[nodiscard]] bool due(std::uint64_t step, std::size_t self, std::size_t members) const {
    return every_ != 0 && step != 0 && step % every_ == 0 && members != 0 && (step / every_) % members == self;
  }
  // The state is as of `step` and is not being changed.
  void begin(std::uint64_t step);
  // What was begun is written, or the deadline has passed.
  void finish(Instant deadline);
  [[nodiscard]] Checkpoints report() const;
  [[nodiscard]] const CheckpointDir& dir() const { return dir_; }

 private:
  [[nodiscard]] Status write(std::uint64_t step, const std::shared_ptr<Snapshot>& snapshot, std::vector<SavedBlob> blobs) const;
  const CheckpointDir dir_;
  Holder& holder_;
  const std::uint64_t every_;
  std::atomic<bool> stop_{false};
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  bool busy_ = false;
  Checkpoints report_;
  Worker worker_;  // last: its job uses the rest
};

}  // namespace regroup::state

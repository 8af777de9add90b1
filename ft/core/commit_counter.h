// CommitCounter: the commit rule of one member, as counters. The only place where control plane and data plane meet.
//
// Pure; one owner at a time (the holder of the execution token; the explorer). Upholds:
// G1: commit k only when prepared >= k was observed from every member of the view and all digests that were shown agree
// (once two differ, this epoch commits nothing from there on). G4: ops settle in order.
// G7: after freeze() nothing raises prepared in that epoch, whoever asks again.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "ft/core/messages.h"
#include "ft/core/view.h"

namespace regroup {

class CommitCounter {
 public:
  static constexpr OpId kMaxWindow = 64;  // ops that may be unsettled at once

  // Enters the epoch of `decision`, in which this member has index `self`. Ops <= trim become settled.
  void install(const Decision& decision, std::size_t self);

  // Numbers the next op. `mark`: it ends a step. Requires room().
  OpId submit(bool mark);
  [[nodiscard]] bool room(OpId window) const { return high_ - committed_ < window; }

  // The decision's word on op k, which is above trim: its failure, if it failed. `shape`: its shape is the membership.
  // Behind a cut it says nothing: the next decision carries the failure. So who has reached the cut holds the state as of
  // it, and can serve that to a joiner.
  [[nodiscard]] std::optional<FailedOp> failure_of(OpId k, bool shape) const;

  // True when k is the next op to prepare, this epoch is not frozen, and no planned cut lies before k.
  [[nodiscard]] bool can_prepare(OpId k) const;
  // Raises prepared to k: the whole result stands in memory that stays mine. Requires can_prepare(k). `digest` of that
  // result, where the plan asks for one; 0: it does not.
  void prepare(OpId k, std::uint64_t digest = 0);
  // A decision has failed k = next op: settled without a result. `prepared` counts as past it, unless the epoch is
  // frozen: then the next decision carries the failure.
  void settle_failed(OpId k);

  // What was read from a peer's word in this epoch. Monotonic: a lower value than before is ignored.
  void observe(std::size_t member, OpId prepared);
  // The digest that a peer showed of k, before its `prepared` is observed. Ignored unless k is prepared and open here.
  void observe_digest(OpId k, std::uint64_t digest);
  // The first op whose digests differ: the owner of this counter asks for a view change.
  [[nodiscard]] std::optional<OpId> differs() const { return differs_; }
  // Highest op that the commit rule allows to commit.
  [[nodiscard]] OpId committable() const;
  // Commits k, the next op, by the rule. Requires k <= committable(). Allowed after freeze().
  void commit(OpId k);

  // Planned change: cut at the first mark >= prepared.
  void plan_cut();
  // The mark that was chosen, once it is committed here and nothing behind it was prepared.
  [[nodiscard]] std::optional<OpId> cut_reached() const;

  // Freezes the epoch (sticky, idempotent) and reports.
  Report freeze();

  [[nodiscard]] Epoch epoch() const { return decision_.view.epoch; }
  [[nodiscard]] const Decision& decision() const { return decision_; }
  [[nodiscard]] std::size_t self() const { return self_; }
  [[nodiscard]] OpId prepared() const { return words_.empty() ? 0 : words_[self_]; }
  [[nodiscard]] OpId committed() const { return committed_; }
  [[nodiscard]] OpId high() const { return high_; }
  [[nodiscard]] bool frozen() const { return frozen_; }
  // Nothing of an observer: before the first install a joiner is told where history stands.
  void start_at(OpId op) { committed_ = high_ = op; }
  bool operator==(const CommitCounter&) const = default;

 private:
  friend struct StateAccess;  // the explorer compares whole states
  void raise(OpId k);
  [[nodiscard]] bool is_mark(OpId k) const { return marks_[k % marks_.size()]; }
  bool& mark(OpId k) { return marks_[k % marks_.size()]; }
  Decision decision_;
  std::size_t self_ = 0;
  std::vector<OpId> words_;  // prepared of every member as observed in this epoch; never read as less than trim
  OpId committed_ = 0;       // highest op settled here
  OpId high_ = 0;
  std::array<bool, 2 * kMaxWindow> marks_{};  // of committed .. high
  std::array<std::uint64_t, 2 * kMaxWindow> digests_{};  // of committed + 1 .. prepared
  std::optional<OpId> differs_;
  bool frozen_ = false;
  bool cut_planned_ = false;
  std::optional<OpId> cut_;
};

}  // namespace regroup

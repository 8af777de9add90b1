// PairCounter: the commit rule of one end of a pair of members, for messages that only the two of them know (send,
// recv).
//
// Each direction has a sequence of its own, numbered from 1 in the order of the calls at each end. The receiver raises
// `prepared` when message n stands whole in memory that stays its own; the sender commits n (raises `settled`) when it
// has seen that; the receiver commits n when it has seen `settled`. Both counts are of a pair of incarnations and hold
// from epoch to epoch. When one end installs a view without the other, the pair has ended there: a receiver commits
// what it had prepared, since the other may have settled it, and everything else fails.
// Pure; one owner at a time (the holder of the execution token; tests/ft_core/pair_test.cc tries every order).
// Upholds, for messages: G1 and G4 (if either end committed n, the other did, or it is out of the view and knows no
// outcome), G7 (who is out can commit only what the other end has committed).
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/check.h"

namespace regroup {

class PairCounter {
 public:
  // --- sender ---
  std::uint64_t post_send() { return ++sends_; }
  // Monotonic: a lower value than before is ignored.
  void observe_prepared(std::uint64_t n) { prepared_seen_ = std::max(prepared_seen_, n); }
  [[nodiscard]] bool can_settle(std::uint64_t n) const {
    return !ended_ && n == settled_ + 1 && n <= sends_ && n <= prepared_seen_;
  }
  void settle(std::uint64_t n) {
    RG_CHECK(can_settle(n));
    settled_ = n;
  }

  // --- receiver ---
  std::uint64_t post_recv() { return ++recvs_; }
  [[nodiscard]] bool can_prepare(std::uint64_t n) const { return !ended_ && n == prepared_ + 1 && n <= recvs_; }
  void prepare(std::uint64_t n) {
    RG_CHECK(can_prepare(n));
    prepared_ = n;
  }
  // The last recv that was posted is taken back: nothing of it was told that binds. What the sender gave for its number is
  // for the next one.
  [[nodiscard]] bool can_cancel_recv() const { return !ended_ && recvs_ > prepared_; }
  void cancel_recv() {
    RG_CHECK(can_cancel_recv());
    --recvs_;
  }
  void observe_settled(std::uint64_t n) { settled_seen_ = std::max(settled_seen_, n); }
  [[nodiscard]] bool can_commit(std::uint64_t n) const {
    return n == committed_ + 1 && n <= prepared_ && (n <= settled_seen_ || ended_);
  }
  void commit(std::uint64_t n) {
    RG_CHECK(can_commit(n));
    committed_ = n;
  }

  // A view without the other incarnation was installed here.
  void end() { ended_ = true; }

  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] std::uint64_t settled() const { return settled_; }
  [[nodiscard]] std::uint64_t prepared() const { return prepared_; }
  [[nodiscard]] std::uint64_t committed() const { return committed_; }
  auto operator<=>(const PairCounter&) const = default;

 private:
  std::uint64_t sends_ = 0, prepared_seen_ = 0, settled_ = 0;
  std::uint64_t recvs_ = 0, prepared_ = 0, settled_seen_ = 0, committed_ = 0;
  bool ended_ = false;
};

}  // namespace regroup

// StateAccess: the explorer's window into the production objects (they befriend it). It compares whole states, lets a
// deadline fire while time stands still, and bends a decision for the wrong rules.
#pragma once

#include "ft/core/commit_counter.h"
#include "ft/core/coordinator.h"
#include "ft/core/member.h"
#include "tests/model/bytes.h"

namespace regroup {

struct StateAccess {
  using Bytes = model::Bytes;

  static void put(Bytes& out, const Member& m) {
    out.put(m.phase_, m.log_, m.decision_, m.report_, m.round_, m.plan_, m.fetch_plan_, m.fetching_, m.followed_, m.level_, m.ready_,
            m.ready_nth_, m.leaving_, m.cut_done_, m.suspects_, m.refused_, m.ask_);
  }

  static void put(Bytes& out, const CommitCounter& c) {
    std::map<Incarnation, OpId> words;
    for (std::size_t i = 0; i < c.words_.size(); ++i) words[c.decision_.view.members[i].inc] = c.words_[i];
    out.put(c.decision_, words, c.committed_, c.high_, c.frozen_, c.cut_planned_, c.cut_);
    for (OpId k = std::min(c.committed_, c.prepared()); k <= c.high_; ++k) out.put(c.is_mark(k));
  }

  // Fields that only one phase reads are left out in the others.
  static void put(Bytes& out, const Coordinator& c) {
    using Phase = Coordinator::Phase;
    std::map<Incarnation, std::pair<int, std::uint64_t>> peers;
    for (const auto& [inc, peer] : c.peers_)
      peers[inc] = {peer.connected + 2 * static_cast<int>(peer.ready) + 8 * peer.leaving, peer.ready_nth};
    out.put(c.detector_.deadline_, c.last_, peers);
    out.put(c.suspected_, c.reports_, c.accusations_, c.judge_at_, c.fail_requests_, c.change_asked_, c.ban_shared_,
            c.phase_, c.round_, c.plan_, c.deadline_, c.candidates_, c.joiners_, c.backoff_, c.cut_after_);
    if (c.phase_ == Phase::kWedging) out.put(c.planned_, c.planned_ ? c.cut_op_ : 0);
    if (c.phase_ == Phase::kLevelling) out.put(c.level_op_, c.source_);
    if (c.phase_ == Phase::kLogging) out.put(c.pending_);
  }

  static bool watches(const Coordinator& c, const Incarnation& who) { return c.detector_.deadline_.contains(who); }
  static void silence(Coordinator& c, const Incarnation& who, Instant now) { c.detector_.deadline_[who] = now; }
  static void deadline(Coordinator& c, Instant now) {
    if (holds_cut(c, now))
      c.cut_after_ = Instant{0};
    else
      c.deadline_ = now;
  }
  // Whose answer the phase waits for.
  static bool awaited(const Coordinator& c, const Incarnation& who) {
    if (c.phase_ == Coordinator::Phase::kWedging) return c.candidates_.contains(who) && !c.reports_.contains(who);
    auto it = c.joiners_.find(who);
    return c.phase_ == Coordinator::Phase::kLevelling && it != c.joiners_.end() && !it->second;
  }
  static bool has_deadline(const Coordinator& c) { return !c.deadline_.is_never(); }
  static bool holds_cut(const Coordinator& c, Instant now) {
    return c.phase_ == Coordinator::Phase::kIdle && c.cut_after_ > now;
  }

  // For wrong rules.
  static void trust_cut(Coordinator& c) { c.cut_op_ = 0; }
  static Decision& pending(Coordinator& c) { return c.pending_; }
  static const std::map<Incarnation, Report>& reports(const Coordinator& c) { return c.reports_; }
  static bool catches_up(const Member& m) {
    return m.phase_ == Member::Phase::kObserver && m.ready_ == Readiness::kFounder;
  }
  static bool leaving(const Member& m) { return m.leaving_; }
  static bool& frozen(CommitCounter& c) { return c.frozen_; }
  static std::optional<OpId> chosen_cut(const CommitCounter& c) { return c.cut_; }
};

}  // namespace regroup

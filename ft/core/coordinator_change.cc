// The view change: when one is due, how it proceeds, what it decides.
#include <algorithm>

#include "base/check.h"
#include "ft/core/coordinator.h"

namespace regroup {

bool Coordinator::change_due() const { return !suspected_.empty() || !fail_requests_.empty() || change_asked_; }

// Ready observers, one per member id, whose id no living member of the view holds. Who catches up is ready to found a
// group at once, to enter a view when it is level.
std::vector<Incarnation> Coordinator::promotable() const {
  std::vector<Incarnation> result;
  std::set<MemberId> taken;
  const bool founding = !last_ || last_->view.members.empty();
  const auto ready = [&](Readiness r) {
    return r >= (founding || mutant(Mutant::kFounderPromoted) ? Readiness::kFounder : Readiness::kHold);
  };
  if (last_)
    for (const MemberInfo& m : last_->view.members) taken.insert(m.id);
  for (const auto& [inc, peer] : peers_)
    if (peer.connected && ready(peer.ready) && !is_member(inc) && !backoff_.contains(inc) && taken.insert(peer.hello.self.id).second)
      result.push_back(inc);
  return result;
}

std::vector<Incarnation> Coordinator::leavers() const {
  std::vector<Incarnation> result;
  for (const auto& [inc, peer] : peers_)
    if (peer.leaving && is_member(inc)) result.push_back(inc);
  return result;
}

void Coordinator::step(Instant now, Out& out) {
  Phase before;
  do {
    before = phase_;
    step_once(now, out);
  } while (phase_ != before);
}

void Coordinator::step_once(Instant now, Out& out) {
  const bool over = now >= deadline_;
  switch (phase_) {
    case Phase::kIdle:
      if (!last_ || last_->view.members.empty()) return found(out);
      if (suspected_.size() == last_->view.members.size()) return;  // all are lost: nothing is decided
      if (change_due()) return start_wedge(false, now, out);
      if (now >= cut_after_ && (!promotable().empty() || !leavers().empty())) start_cut(out);
      return;
    case Phase::kCutting:  // members that have chosen their cut wait for it, so it is finished even if the joiner is gone
      if (change_due()) start_wedge(false, now, out);
      return;
    case Phase::kWedging: {
      for (const Incarnation& who : suspected_) candidates_.erase(who);
      if (mutant(Mutant::kNotAllAwaited) && !reports_.empty())
        for (const Incarnation& c : candidates_) reports_.emplace(c, reports_.begin()->second);
      const bool all = std::all_of(candidates_.begin(), candidates_.end(), [&](auto& c) { return reports_.contains(c); });
      if (!all && !over) return;
      for (const MemberInfo& m : last_->view.members)
        if (!reports_.contains(m.inc)) suspect(m.inc, "no-report");
      return finish_wedge(now, out);
    }
    case Phase::kLevelling: {
      const bool failed = std::any_of(suspected_.begin(), suspected_.end(), [&](auto& s) { return candidates_.contains(s); });
      std::erase_if(joiners_, [&](const auto& j) { return !peers_.contains(j.first); });
      const bool all = std::all_of(joiners_.begin(), joiners_.end(), [](const auto& j) { return j.second.has_value(); });
      if (!all && !over && !failed) return;
      for (const Incarnation& who : suspected_) candidates_.erase(who);
      if (candidates_.empty()) return nothing_decided();
      std::vector<Incarnation> join;
      for (const auto& [inc, level] : joiners_) {
        if (level == true || (level && mutant(Mutant::kJoinerNotLevel))) join.push_back(inc);
        else if (!failed) backoff_.insert(inc);
      }
      // A joiner that cannot be reached from here may be ready again at once: the members, who were held for it, go on
      // for longer than that before they are held again.
      if (!failed && join.size() < joiners_.size())
        cut_after_ = now + std::clamp((now - levelling_) * 3, config_.lost_grace * 4, config_.level_deadline);
      if (failed) join.clear();
      return decide({candidates_.begin(), candidates_.end()}, join, !failed, out);
    }
    case Phase::kLogging:
      return;
  }
}

// The first view, or the first after everybody had left: when as many distinct members as the world has are ready.
void Coordinator::found(Out& out) {
  const std::vector<Incarnation> ready = promotable();
  if (ready.empty() || ready.size() < peers_.at(ready.front()).hello.world_size) return;
  decide({}, ready, true, out);
}

void Coordinator::start_cut(Out& out) {
  phase_ = Phase::kCutting;
  ++plan_;
  for (const MemberInfo& m : last_->view.members)
    if (peers_.contains(m.inc)) out.push_back(SendToMember{m.inc, Notice{last_->view.epoch, plan_}});
}

void Coordinator::start_wedge(bool planned, Instant now, Out& out) {
  phase_ = Phase::kWedging;
  planned_ = planned;
  deadline_ = now + config_.wedge_deadline;
  ++round_;
  candidates_.clear();
  for (const MemberInfo& m : last_->view.members) {
    if (suspected_.contains(m.inc)) continue;
    candidates_.insert(m.inc);
    if (!reports_.contains(m.inc)) out.push_back(SendToMember{m.inc, Wedge{round_, *last_}});
  }
}

void Coordinator::finish_wedge(Instant now, Out& out) {
  std::erase_if(candidates_, [&](const Incarnation& c) { return !reports_.contains(c); });
  deadline_ = Instant::never();
  if (candidates_.empty()) return nothing_decided();
  const bool complete = candidates_.size() == last_->view.members.size() || mutant(Mutant::kPlannedDespiteFailure);
  const OpId trim = trim_of({candidates_.begin(), candidates_.end()});
  // All have prepared the mark, unless an op up to it had failed and somebody was frozen before it knew: trim ends no
  // step then, so an ordinary change comes first.
  const bool at_mark = trim >= cut_op_ || mutant(Mutant::kPlannedInsideStep) || mutant(Mutant::kCutEarly) ||
                       mutant(Mutant::kPlannedDespiteFailure);
  const bool planned = planned_ && complete && at_mark;
  if (planned_ && complete && !at_mark) cut_after_ = now + config_.lost_grace;
  if (planned) {
    joiners_.clear();
    for (const Incarnation& inc : promotable()) joiners_[inc] = std::nullopt;
    // Only who has settled trim and nothing behind it (a failed op) holds the state as of trim; the member that reported
    // the cut does.
    auto source = std::find_if(candidates_.begin(), candidates_.end(), [&](const Incarnation& c) {
      return reports_.at(c).committed == trim && !peers_.at(c).leaving;
    });
    if (source == candidates_.end())
      source = std::find_if(candidates_.begin(), candidates_.end(), [&](auto& c) { return reports_.at(c).committed == trim; });
    if (!joiners_.empty() && source != candidates_.end()) {
      phase_ = Phase::kLevelling;
      level_op_ = trim;
      levelling_ = now;
      source_ = *source;
      const bool all_level = std::all_of(joiners_.begin(), joiners_.end(),
                                         [&](const auto& j) { return peers_.at(j.first).ready == Readiness::kLevel; });
      deadline_ = now + (all_level ? config_.wedge_deadline : config_.level_deadline);
      for (const auto& [inc, level] : joiners_)
        out.push_back(SendToMember{inc, fetch()});
      return;
    }
  }
  decide({candidates_.begin(), candidates_.end()}, {}, planned, out);
}

// What all candidates have prepared, and with the same bits: whoever committed an op has seen all digests of it agree.
OpId Coordinator::trim_of(const std::vector<Incarnation>& candidates) const {
  OpId trim = reports_.at(candidates.front()).prepared;
  for (const Incarnation& c : candidates) {
    const OpId prepared = reports_.at(c).prepared;
    if (!mutant(Mutant::kTrimFirst)) trim = mutant(Mutant::kTrimMax) ? std::max(trim, prepared) : std::min(trim, prepared);
  }
  std::map<OpId, std::uint64_t> shown;
  for (const Incarnation& c : candidates) {
    const Report& report = reports_.at(c);
    for (std::size_t i = 0; i < report.digests.size(); ++i) {
      const OpId op = report.committed + 1 + i;
      const std::uint64_t digest = report.digests[i];
      if (mutant(Mutant::kTrimBlind)) continue;
      if (digest != 0 && shown.try_emplace(op, digest).first->second != digest) trim = std::min(trim, op - 1);
    }
  }
  return std::max(trim, last_->trim) + mutant(Mutant::kTrimAhead);
}

// All members of the view are lost: nothing is decided. Some may be wedged, and a wedge is never taken back: whoever comes
// back begins the change again.
void Coordinator::nothing_decided() {
  phase_ = Phase::kIdle;
  deadline_ = Instant::never();
  joiners_.clear();
  change_asked_ = true;
}

// Whoever founds the group anew numbers on behind all ops that may have ended at anybody: those that the last decisions
// failed lie in front of `high`, or are named, and may lie behind trim (G4).
OpId Coordinator::unused_after() const {
  if (!last_) return 0;
  if (mutant(Mutant::kNumbersReused)) return last_->trim;
  OpId last = std::max(last_->trim, last_->high);
  for (const FailedOp& f : last_->failed) last = std::max(last, f.op);
  return last;
}

void Coordinator::decide(const std::vector<Incarnation>& stay, const std::vector<Incarnation>& join, bool planned, Out& out) {
  Decision d;
  d.view.log = config_.log;
  d.prev = last_ ? last_->view.epoch : 0;
  d.view.epoch = d.prev + (mutant(Mutant::kEpochReused) && last_ && !planned ? 0 : 1);
  d.planned = planned;
  d.joined = join;
  d.trim = stay.empty() ? unused_after() : trim_of(stay);
  d.high = stay.empty() ? d.trim : last_->high;
  for (const Incarnation& inc : stay) {
    const Report& report = reports_.at(inc);
    d.high = std::max(d.high, report.high);
    if (!(planned && peers_.contains(inc) && peers_.at(inc).leaving)) d.view.members.push_back(info_of(inc));
  }
  for (const Incarnation& inc : join) {
    d.view.members.push_back(info_of(inc));
    why_.insert("join:" + to_string(info_of(inc).id));
  }
  std::sort(d.view.members.begin(), d.view.members.end(), [](auto& a, auto& b) { return a.id < b.id; });
  d.founding = mutant(Mutant::kHandOverFounds) ? !join.empty() && join.size() == d.view.members.size() : stay.empty();
  if (last_ && !stay.empty() && !mutant(Mutant::kFailedForgotten))
    for (const FailedOp& f : last_->failed) fail_requests_.insert_or_assign(f.op, f);
  for (const auto& [op, f] : fail_requests_)
    if (op > d.trim) d.failed.push_back(f);
  d.shared_banned = ban_shared_;
  d.plane = ban_shared_ ? PlaneKind::kNetwork : plane_for(d.view.members);
  for (const std::string& reason : why_) d.reason += (d.reason.empty() ? "" : ",") + reason;
  append(std::move(d), out);
}

PlaneKind Coordinator::plane_for(const std::vector<MemberInfo>& members) {
  const auto on_host_of = [&](const MemberInfo& m) {
    return m.locality == 0 ? 0 : std::count_if(members.begin(), members.end(), [&](auto& i) { return i.locality == m.locality; });
  };
  if (!members.empty() && static_cast<std::size_t>(on_host_of(members.front())) == members.size()) return PlaneKind::kShared;
  const bool any = std::any_of(members.begin(), members.end(), [&](auto& m) { return on_host_of(m) > 1; });
  return any ? PlaneKind::kHybrid : PlaneKind::kNetwork;
}

void Coordinator::append(Decision decision, Out& out) {
  phase_ = Phase::kLogging;
  deadline_ = Instant::never();
  pending_ = std::move(decision);
  out.push_back(AppendLog{pending_});
  for (const MemberInfo& m : pending_.view.members)
    if (mutant(Mutant::kLogNotSynced)) out.push_back(SendToMember{m.inc, Install{pending_}});
}

void Coordinator::publish(const Decision& decision, Instant now, Out& out) {
  const std::optional<Decision> before = std::exchange(last_, decision);
  phase_ = Phase::kIdle;
  std::set<Incarnation> gone;
  if (before)
    for (const MemberInfo& m : before->view.members)
      if (!decision.view.contains(m.inc)) gone.insert(m.inc);
  for (const MemberInfo& m : decision.view.members)
    if (peers_.contains(m.inc)) {
      peers_.at(m.inc).ready = Readiness::kNo;
      out.push_back(SendToMember{m.inc, Install{decision}});
    }
  for (const MemberInfo& m : decision.view.members) detector_.watch(m.inc, now);
  for (const Incarnation& inc : gone) {
    out.push_back(SendToMember{inc, Install{decision}});  // tells it that it is out
    peers_.erase(inc);
    detector_.forget(inc);
  }
  for (const auto& [inc, peer] : peers_)  // who catches up follows the view
    if (peer.connected && (peer.ready == Readiness::kFounder || peer.ready == Readiness::kLevel))
      if (!is_member(inc)) out.push_back(SendToMember{inc, welcome(inc)});
  // Suspicions, requests and reports belonged to the ended epoch. Who is suspected still will be suspected again.
  std::erase_if(suspected_, [&](const Incarnation& s) { return !decision.view.contains(s); });
  why_.clear();
  for (const Incarnation& s : suspected_) why_.insert("suspected:" + to_string(info_of(s).id));
  if (!mutant(Mutant::kReportsKept)) reports_.clear();
  candidates_.clear();
  joiners_.clear();
  accusations_.clear();
  judge_at_ = Instant::never();
  fail_requests_.clear();
  change_asked_ = false;
}

}  // namespace regroup

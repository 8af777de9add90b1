#include "ft/core/coordinator.h"

#include <algorithm>

namespace regroup {
namespace {

constexpr OpId kMaxOp = 1ull << 62;  // no group gets there: a larger number is somebody's mistake, and is not counted on from

Refuse unlike(const Hello& mine, const Hello& theirs) {
  return {Code::kConfig, "configuration differs from member " + to_string(theirs.self.id) + ": mine [" + mine.config +
                             "], theirs [" + theirs.config + "]"};
}

}  // namespace

Coordinator::Coordinator(CoordinatorConfig config, std::optional<Decision> last, Instant now)
    : config_(std::move(config)),
      detector_(config_.suspicion, config_.max_tick_gap),
      last_(std::move(last)),
      round_(config_.first_round),
      plan_(config_.first_round) {
  if (!last_) return;
  // After a restart every member of the last view has one suspicion time to come back.
  for (const MemberInfo& m : last_->view.members) detector_.watch(m.inc, now);
  ban_shared_ = last_->shared_banned;
}

void Coordinator::on(const CoordinatorInput& input, Instant now, Out& out) {
  if (const auto* in = std::get_if<FromMember>(&input)) {
    detector_.heard(in->from, now);
    if (phase_ == Phase::kIdle && suspected_.contains(in->from)) back_from_nobody(now);
    const bool hello = std::holds_alternative<Hello>(in->message);
    if (hello || peers_.contains(in->from))
      std::visit([&](const auto& m) { on_message(in->from, m, now, out); }, in->message);
  } else if (const auto* lost = std::get_if<MemberLost>(&input)) {
    if (auto it = peers_.find(lost->who); it != peers_.end()) {
      it->second.connected = false;
      it->second.ready = Readiness::kNo;
      if (is_member(lost->who)) detector_.shorten(lost->who, now, config_.lost_grace);
      else peers_.erase(it);  // an observer comes and goes without a view change
    }
  } else if (std::holds_alternative<Tick>(input)) {
    for (const Incarnation& who : detector_.tick(now)) suspect(who, "silent");
    if (now >= judge_at_) judge_links(now);
  } else if (const auto* logged = std::get_if<Logged>(&input)) {
    if (phase_ == Phase::kLogging && logged->epoch == pending_.view.epoch) publish(pending_, now, out);
  }
  step(now, out);
}

std::optional<Refuse> Coordinator::refusal(const Hello& m) const {
  if (m.group != config_.group)
    return Refuse{Code::kRefused, "this coordinator serves group '" + config_.group + "', not '" + m.group + "'"};
  if (m.log != 0 && m.log != config_.log) return Refuse{Code::kRefused, "view log id differs: another group's past"};
  if (m.installed > (last_ ? last_->view.epoch : 0))
    return Refuse{Code::kRefused, "the view log ends before the view that this member has installed"};
  for (const auto& [inc, peer] : peers_) {
    if (is_member(m.self.inc) || !peer.connected || inc == m.self.inc) continue;  // a member was let in before
    if (peer.hello.config_hash == m.config_hash) continue;
    return unlike(m, peer.hello);
  }
  return std::nullopt;
}

void Coordinator::on_message(const Incarnation& from, const Hello& m, Instant now, Out& out) {
  if (auto refuse = refusal(m)) {
    out.push_back(SendToMember{from, *refuse});
    return;
  }
  Peer& peer = peers_[from];
  const bool leaving = peer.leaving;
  const bool late = peer.connected && m.ready_nth < peer.ready_nth;  // a repeat: what was said since stands
  const Readiness ready = m.installed != 0 ? Readiness::kNo : late ? peer.ready : m.ready;
  peer = Peer{m, true, ready, std::max(m.ready_nth, peer.ready_nth), leaving, 0, 0};
  backoff_.erase(from);
  out.push_back(SendToMember{from, welcome(from)});
  if (!last_) return;
  if (is_member(from)) {
    refuse_unlike(m, out);
    peer.ready = Readiness::kNo;
    detector_.watch(from, now);
    detector_.heard(from, now);
    suspected_.erase(from);  // heard of again before anything was decided
    if (m.installed < last_->view.epoch && !mutant(Mutant::kInstallNotResent)) out.push_back(SendToMember{from, Install{*last_}});
    if (m.wedged && m.installed == last_->view.epoch) {  // a wedge is never taken back: the change must be finished
      change_asked_ = true;
      why_.insert("wedged:" + to_string(m.self.id));
    }
    if (phase_ == Phase::kCutting) out.push_back(SendToMember{from, Notice{last_->view.epoch, plan_}});
    if (phase_ == Phase::kWedging && candidates_.contains(from) && !reports_.contains(from))
      out.push_back(SendToMember{from, Wedge{round_, *last_}});
  } else if (m.installed != 0) {
    if (!mutant(Mutant::kEvictedNotTold)) out.push_back(SendToMember{from, Evicted{config_.log, last_->view.epoch}});
    peers_.erase(from);
  } else if (phase_ == Phase::kLevelling) {
    auto it = joiners_.find(from);
    if (it != joiners_.end() && ready < Readiness::kHold) it->second = false;
    if (it != joiners_.end() && !it->second) out.push_back(SendToMember{from, fetch()});
  }
}

Welcome Coordinator::welcome(const Incarnation& to) const {
  Welcome m{config_.log, last_ ? last_->view.epoch : 0};
  if (last_ && !is_member(to)) m.members = last_->view.members;
  return m;
}

// After a restart an observer may have been let in before a member came that it differs from.
void Coordinator::refuse_unlike(const Hello& member, Out& out) {
  std::erase_if(peers_, [&](const auto& p) {
    const Hello& other = p.second.hello;
    if (is_member(p.first) || !p.second.connected || other.config_hash == member.config_hash) return false;
    out.push_back(SendToMember{p.first, unlike(other, member)});
    return true;
  });
}

void Coordinator::on_message(const Incarnation& from, const Heartbeat& m, Instant, Out&) {
  Peer& peer = peers_[from];
  peer.committed_epoch = m.epoch;
  peer.committed = m.committed;
}

void Coordinator::on_message(const Incarnation& from, const Ready& m, Instant, Out&) {
  Peer& peer = peers_[from];
  if (is_member(from) || m.nth < peer.ready_nth) return;
  peer.ready = m.how;
  peer.ready_nth = m.nth;
  backoff_.erase(from);
  auto it = joiners_.find(from);
  if (it == joiners_.end()) return;
  if (m.how < Readiness::kHold) it->second = false;       // it must catch up first: nobody waits for that
  else if (it->second == false) joiners_.erase(it);  // for the next change
}

void Coordinator::on_message(const Incarnation& from, const Wedged& m, Instant, Out&) {
  const bool sane = m.report.prepared >= (last_ ? last_->trim : 0) && m.report.high >= m.report.prepared && m.report.high <= 2 * kMaxOp;
  const bool ours = last_ && (m.report.epoch == last_->view.epoch || mutant(Mutant::kStaleReport));
  if (ours && is_member(from) && sane) reports_.emplace(from, m.report);
}

void Coordinator::on_message(const Incarnation& from, const CutDone& m, Instant now, Out& out) {
  // Whichever life of ours gave notice: who has cut waits for the change, even if its reason is gone by now.
  const bool waits = (phase_ == Phase::kCutting || phase_ == Phase::kIdle) && last_ && m.epoch == last_->view.epoch;
  if (!waits || !is_member(from)) return;
  cut_op_ = m.op;
  start_wedge(true, now, out);
}

void Coordinator::on_message(const Incarnation& from, const Level& m, Instant now, Out&) {
  auto it = joiners_.find(from);
  const bool asked = (m.plan == plan_ && m.op == level_op_) || mutant(Mutant::kStaleLevel);
  if (phase_ == Phase::kLevelling && asked && it != joiners_.end()) it->second = m.ok;
  else if (m.ok) backoff_.erase(from), cut_after_ = now;  // too late for that change, but it can: next time
}

void Coordinator::on_message(const Incarnation& from, const Suspect& m, Instant now, Out&) {
  if (!is_member(m.who) || from == m.who) return;
  if (m.kind == SuspectKind::kDead) return suspect(m.who, "dead");
  accusations_.try_emplace({from, m.who}, now);
  if (judge_at_.is_never()) judge_at_ = now + link_grace();
}

void Coordinator::on_message(const Incarnation&, const FailOp& m, Instant, Out&) {
  if (!last_ || m.epoch != last_->view.epoch || m.what.op <= last_->trim || m.what.op > kMaxOp || last_->failure_of(m.what.op)) return;
  FailedOp what = m.what;
  what.redone = what.op <= last_->high;
  fail_requests_.emplace(what.op, what);
}

void Coordinator::on_message(const Incarnation&, const AskChange& m, Instant, Out&) {
  if (!last_ || m.epoch != last_->view.epoch) return;
  change_asked_ = true;
  ban_shared_ = ban_shared_ || m.ban_shared;
  why_.insert(m.reason);
}

void Coordinator::on_message(const Incarnation& from, const Leave&, Instant, Out&) { peers_[from].leaving = true; }

void Coordinator::suspect(const Incarnation& who, const std::string& why) {
  if (!is_member(who) || !suspected_.insert(who).second) return;
  why_.insert(why + ":" + to_string(info_of(who).id));
}

// All members were lost (else a change were under way) and one is back: the fault was ours or the network's, so all have
// one suspicion time to come back, as after a restart. Evicting them in favour of the first would lose members for nothing.
void Coordinator::back_from_nobody(Instant now) {
  suspected_.clear();
  for (const MemberInfo& m : last_->view.members) {
    detector_.watch(m.inc, now);
    detector_.heard(m.inc, now);
  }
}

// Who is cut off with others, and who waits for it, find out one after the other: judged by the first word alone, the wrong
// ones would go. Members look at all their links several times in this span.
Duration Coordinator::link_grace() const { return std::max(config_.lost_grace, config_.suspicion * 3 / 10); }

// A link failed while both ends still talk to us. Evict the smallest set that explains it: whoever is accused by, or
// accuses, most others first; on a tie the higher id. Never both ends.
void Coordinator::judge_links(Instant now) {
  judge_at_ = Instant::never();
  std::erase_if(accusations_, [&](const auto& a) {
    const auto& [from, who] = a.first;
    return !is_member(from) || !is_member(who) || suspected_.contains(from) || suspected_.contains(who);
  });
  // An end that was not heard of since may be the whole explanation: the detector's word on it comes first.
  for (const auto& [ends, since] : accusations_)
    if (!detector_.heard_after(ends.first, since) || !detector_.heard_after(ends.second, since))
      judge_at_ = now + config_.lost_grace;
  if (!judge_at_.is_never()) return;
  while (!accusations_.empty()) {
    std::map<Incarnation, std::set<Incarnation>> broken;  // undirected
    for (const auto& [ends, since] : accusations_)
      broken[ends.first].insert(ends.second), broken[ends.second].insert(ends.first);
    auto worst = std::max_element(broken.begin(), broken.end(), [&](const auto& x, const auto& y) {
      return std::pair(x.second.size(), info_of(x.first).id) < std::pair(y.second.size(), info_of(y.first).id);
    });
    const Incarnation out_of_reach = worst->first;
    suspect(out_of_reach, "link");
    // It is likely to be back as an observer at once, for it reaches us. First it must show that the others work together.
    cut_after_ = std::max(cut_after_, now + config_.suspicion * 2);
    std::erase_if(accusations_,
                  [&](const auto& a) { return a.first.first == out_of_reach || a.first.second == out_of_reach; });
  }
}

MemberInfo Coordinator::info_of(const Incarnation& inc) const {
  if (last_)
    if (auto i = last_->view.index_of(inc)) return last_->view.members[*i];
  auto it = peers_.find(inc);
  return it == peers_.end() ? MemberInfo{} : it->second.hello.self;
}

}  // namespace regroup

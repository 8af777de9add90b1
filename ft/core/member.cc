#include "ft/core/member.h"

#include <algorithm>
#include <utility>

namespace regroup {
namespace {

template <class... Fs>
struct Overload : Fs... {
  using Fs::operator()...;
};
template <class... Fs>
Overload(Fs...) -> Overload<Fs...>;

template <class M>
void send(M message, MemberActions& out) {
  out.push_back(SendToCoordinator{std::move(message)});
}

}  // namespace

void Member::on(const MemberInput& input, MemberActions& out) {
  if (phase_ == Phase::kEnded) return;
  std::visit(
      Overload{
          [&](const Connected&) { on_connected(out); },
          [&](const FromCoordinator& in) { std::visit([&](const auto& m) { on_message(m, out); }, in.message); },
          [&](const Parked& in) {
            if (phase_ != Phase::kObserver) return;
            ready_ = in.how;  // said again after a failed fetch: try again
            send(Ready{ready_, ++ready_nth_}, out);
          },
          [&](const Frozen& in) {
            if (phase_ != Phase::kFreezing || in.report.epoch != installed()) return;
            phase_ = Phase::kWedged;
            report_ = in.report;
            send(Wedged{round_, *report_}, out);
          },
          [&](const CutReached& in) {
            if (phase_ != Phase::kActive || in.epoch != installed() || plan_ == 0) return;
            cut_done_ = CutDone{in.epoch, plan_, in.op};
            send(*cut_done_, out);
          },
          [&](const LevelReached& in) {
            if (phase_ != Phase::kObserver || in.plan != fetch_plan_ || !std::exchange(fetching_, false)) return;
            level_ = in.ok ? std::optional(in.op) : std::nullopt;
            send(Level{in.plan, in.op, in.ok}, out);
            if (in.ok) return;
            // Still waiting: from another source, at another mark. Who had caught up must do so again first.
            if (ready_ == Readiness::kLevel) ready_ = Readiness::kFounder;
            send(Ready{ready_, ++ready_nth_}, out);
          },
          [&](const PeerSuspected& in) {
            if (phase_ == Phase::kObserver || !decision_.view.contains(in.who)) return;
            const Suspect suspect{in.who, in.kind};
            if (std::find(suspects_.begin(), suspects_.end(), suspect) != suspects_.end()) return;
            suspects_.push_back(suspect);
            send(suspect, out);
          },
          [&](const OpRefused& in) {
            if (phase_ == Phase::kObserver) return;
            auto same = [&](const FailedOp& f) { return f.op == in.what.op; };
            if (std::any_of(refused_.begin(), refused_.end(), same)) return;
            refused_.push_back(in.what);
            send(FailOp{installed(), in.what}, out);
          },
          [&](const ChangeWanted& in) {
            if (phase_ == Phase::kObserver || in.epoch != installed() || (ask_ && ask_->ban_shared >= in.ban_shared)) return;
            ask_ = AskChange{in.epoch, in.ban_shared, in.reason};
            send(*ask_, out);
          },
          [&](const LeaveWanted&) {
            leaving_ = true;
            if (phase_ == Phase::kObserver) return end(Code::kClosed, "left before the first view", out);
            send(Leave{}, out);
          },
      },
      input);
}

void Member::on_connected(MemberActions& out) {
  Hello hello{config_.group, log_, config_.self, config_.config_hash, config_.config, config_.world_size,
              installed(),
              (phase_ == Phase::kWedged || phase_ == Phase::kFreezing) && !mutant(Mutant::kWedgeForgotten),
              phase_ == Phase::kObserver ? ready_ : Readiness::kNo, ready_nth_};
  send(std::move(hello), out);
  if (phase_ == Phase::kWedged && !mutant(Mutant::kWedgeForgotten)) send(Wedged{round_, *report_}, out);
  if (mutant(Mutant::kRequestForgotten)) return;
  if (phase_ == Phase::kActive && cut_done_) send(*cut_done_, out);
  for (const Suspect& s : suspects_) send(s, out);
  for (const FailedOp& f : refused_) send(FailOp{installed(), f}, out);
  if (ask_) send(*ask_, out);
  if (leaving_ && !mutant(Mutant::kLeaverForgotten)) send(Leave{}, out);
}

void Member::on_message(const Welcome& m, MemberActions& out) {
  if (foreign(m.log)) {
    out.push_back(DropCoordinator{"its view log has another id"});
  } else if (m.epoch < installed()) {
    out.push_back(DropCoordinator{"its view log is older than the view installed here"});
  } else {
    if (log_ == 0) log_ = m.log;
    if (phase_ != Phase::kObserver || m.epoch < followed_) return;
    followed_ = m.epoch;
    out.push_back(FollowView{m});
  }
}

void Member::on_message(const Refuse& m, MemberActions& out) {
  if (phase_ == Phase::kObserver) return end(m.code, m.detail, out);
  out.push_back(DropCoordinator{"refused: " + m.detail});  // we have a view: a stray coordinator cannot end us
}

void Member::on_message(const Wedge& m, MemberActions& out) {
  if (foreign(m.made.view.log) || !m.made.view.contains(config_.self.inc)) return;
  if (installed() < m.made.view.epoch && !install(m.made, out)) return;
  if (installed() != m.made.view.epoch) return;
  round_ = m.round;
  if (phase_ == Phase::kWedged) {
    send(Wedged{round_, *report_}, out);
  } else if (phase_ == Phase::kActive) {
    phase_ = Phase::kFreezing;
    out.push_back(FreezeData{installed()});
  }
}

void Member::on_message(const Notice& m, MemberActions& out) {
  if (phase_ != Phase::kActive || m.epoch != installed()) return;
  const bool first = plan_ == 0;
  plan_ = m.plan;
  if (first) {
    out.push_back(CutData{m.epoch});
  } else if (cut_done_) {  // a repeated or newer plan of the same epoch: the cut stands
    cut_done_->plan = m.plan;
    send(*cut_done_, out);
  }
}

void Member::on_message(const Fetch& m, MemberActions& out) {
  if (phase_ != Phase::kObserver || ready_ < Readiness::kHold || foreign(m.log)) return;
  if (fetch_plan_ - m.plan - 1 < kPlansOfALife) return;  // older, and late: it must not replace what is asked now
  if (fetch_plan_ == m.plan && fetching_) return;  // asked twice: a second transfer might fail when the first has made it level
  if (fetch_plan_ == m.plan && level_ == m.op) return send(Level{m.plan, m.op, true}, out);  // asked twice: still level
  fetch_plan_ = m.plan;
  fetching_ = true;
  level_.reset();
  out.push_back(FetchState{m});
}

void Member::on_message(const Install& m, MemberActions& out) {
  const Decision& d = m.decision;
  if (foreign(d.view.log) || d.view.epoch <= installed()) return;
  if (d.view.contains(config_.self.inc)) {
    install(d, out);
  } else if (installed() != 0 && !mutant(Mutant::kEvictionIgnored)) {
    end(leaving_ ? Code::kClosed : Code::kEvicted, "view " + std::to_string(d.view.epoch) + " was made without us", out);
  }
}

void Member::on_message(const Evicted& m, MemberActions& out) {
  if (foreign(m.log) || installed() == 0 || m.epoch <= installed() || mutant(Mutant::kEvictionIgnored)) return;
  end(leaving_ ? Code::kClosed : Code::kEvicted, "view " + std::to_string(m.epoch) + " was made without us", out);
}

bool Member::install(const Decision& d, MemberActions& out) {
  // A member of the new view has reported in the old one. An observer enters with its first view: the group's first, or
  // one at whose trim it is level (who is not level never contributes).
  const bool level = level_ == d.trim || (level_ && mutant(Mutant::kStaleLevel));
  const bool follows =
      phase_ == Phase::kObserver ? d.founds() || level : phase_ == Phase::kWedged && d.prev == installed();
  if (!follows) return false;
  log_ = d.view.log;
  decision_ = d;
  phase_ = Phase::kActive;
  report_.reset();
  plan_ = followed_ = 0;
  cut_done_.reset();
  suspects_.clear();
  ask_.reset();
  std::erase_if(refused_, [&](const FailedOp& f) { return f.op <= d.trim || d.failure_of(f.op); });
  out.push_back(InstallData{d, *d.view.index_of(config_.self.inc)});
  for (const FailedOp& f : refused_) send(FailOp{d.view.epoch, f}, out);
  return true;
}

void Member::end(Code code, std::string detail, MemberActions& out) {
  phase_ = Phase::kEnded;
  out.push_back(Ended{code, std::move(detail)});
}

}  // namespace regroup

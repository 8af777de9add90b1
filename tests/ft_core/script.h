// Script: a coordinator and what stands around it, so that a test reads as the script of a protocol run.
// Members are 1, 2, 3, ...; incarnation n of member m is inc(m, n). Time stands still unless a test moves it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ft/core/coordinator.h"
#include "ft/core/member.h"

namespace regroup::test {

inline Incarnation inc(std::uint32_t member, std::uint64_t life = 1) { return {member, life}; }
inline MemberInfo info(std::uint32_t member, std::uint64_t life = 1) {
  return {MemberId{member, 0}, inc(member, life), 7, "address"};
}
inline constexpr LogId kLog = 77;

class Script {
 public:
  explicit Script(std::uint32_t world_size = 3) : world_size_(world_size) { restart(); }

  // --- what happens ---
  void restart() {  // a new coordinator from the durable decision; all connections are gone
    CoordinatorConfig config;
    config.group = "g";
    config.log = kLog;
    config.first_round = 100 * ++life_;
    coordinator_.emplace(config, durable_, now);
    sent_.clear(), unlogged_.reset();
  }
  Hello hello(const Incarnation& who, Epoch installed = 0, bool wedged = false, bool ready = false) const {
    Hello h;
    h.group = "g";
    h.log = installed == 0 ? 0 : kLog;
    h.self = info(static_cast<std::uint32_t>(who.hi), who.lo);
    h.world_size = world_size_;
    h.installed = installed, h.wedged = wedged, h.ready = ready ? Readiness::kHold : Readiness::kNo;
    return h;
  }
  void say(const Incarnation& who, ToCoordinator message) { feed(FromMember{who, std::move(message)}); }
  void connect(const Incarnation& who, Epoch installed = 0, bool wedged = false, bool ready = false) {
    say(who, hello(who, installed, wedged, ready));
  }
  void follower(const Incarnation& who, Readiness how) {  // an observer that catches up
    Hello h = hello(who);
    h.ready = how;
    say(who, h);
  }
  void observer(const Incarnation& who) { connect(who, 0, false, true); }  // ready to be promoted
  void lost(const Incarnation& who) { feed(MemberLost{who}); }
  void dead(const Incarnation& who, const Incarnation& by) { say(by, Suspect{who, SuspectKind::kDead}); }
  void report(const Incarnation& who, OpId prepared, OpId committed, OpId high) {
    say(who, Wedged{0, Report{epoch(), prepared, committed, high}});
  }
  void write_log() {
    const Decision d = unlogged_.value();
    durable_ = d, unlogged_.reset();
    feed(Logged{d.view.epoch});
  }
  // Time passes in ticks of 20 ms; the named members beat.
  void pass(std::int64_t ms, const std::vector<Incarnation>& beating = {}) {
    for (std::int64_t t = 0; t < ms; t += 20) {
      now = now + Duration::from_ms(20);
      for (const Incarnation& who : beating) say(who, Heartbeat{});
      feed(Tick{});
    }
  }

  // --- what can be seen ---
  [[nodiscard]] Coordinator& coordinator() { return *coordinator_; }
  [[nodiscard]] Coordinator::Phase phase() const { return coordinator_->phase(); }
  [[nodiscard]] Epoch epoch() const { return coordinator_->last() ? coordinator_->last()->view.epoch : 0; }
  [[nodiscard]] const Decision& decision() const { return *coordinator_->last(); }
  [[nodiscard]] const std::optional<Decision>& unlogged() const { return unlogged_; }
  [[nodiscard]] std::vector<Incarnation> members() const { return members_of(decision()); }
  static std::vector<Incarnation> members_of(const Decision& d) {
    std::vector<Incarnation> result;
    for (const MemberInfo& m : d.view.members) result.push_back(m.inc);
    return result;
  }
  // The last message of kind M to `who` since forget(), if any.
  template <class M>
  std::optional<M> got(const Incarnation& who) const {
    std::optional<M> last;
    auto it = sent_.find(who);
    if (it == sent_.end()) return last;
    for (const ToMember& m : it->second)
      if (const M* found = std::get_if<M>(&m)) last = *found;
    return last;
  }
  void forget() { sent_.clear(); }

  // --- common beginnings ---
  // World members 1..n are in view 1.
  void form() {
    for (std::uint32_t m = 1; m <= world_size_; ++m) observer(inc(m));
    write_log();
    forget();
  }
  // All connected members in `who` report `op` as prepared and committed.
  void all_report(const std::vector<Incarnation>& who, OpId op) {
    for (const Incarnation& m : who) report(m, op, op, op);
  }

  Instant now{1'000'000'000};

 private:
  void feed(const CoordinatorInput& input) {
    CoordinatorActions actions;
    coordinator_->on(input, now, actions);
    for (CoordinatorAction& action : actions) {
      if (auto* send = std::get_if<SendToMember>(&action)) sent_[send->to].push_back(send->message);
      if (auto* append = std::get_if<AppendLog>(&action)) unlogged_ = append->decision;
    }
  }
  std::uint32_t world_size_;
  std::uint64_t life_ = 0;
  std::optional<Coordinator> coordinator_;
  std::optional<Decision> durable_;
  std::optional<Decision> unlogged_;
  std::map<Incarnation, std::vector<ToMember>> sent_;
};

using Phase = Coordinator::Phase;
using Incs = std::vector<Incarnation>;

}  // namespace regroup::test

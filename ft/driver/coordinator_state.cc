#include "ft/driver/coordinator_state.h"

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "ft/driver/codec.h"
#include "ft/driver/net.h"
#include "transport/wire/frame.h"

namespace regroup {
namespace {

constexpr std::size_t kMaxEvents = 64;
constexpr Duration kSlowLog = Duration::from_ms(500);

CoordinatorConfig config_of(const CoordinatorOptions& options, LogId log) {
  CoordinatorConfig c;
  c.group = options.group;
  c.log = log;
  c.suspicion = options.suspicion;
  c.lost_grace = options.lost_grace;
  c.wedge_deadline = options.wedge_deadline;
  c.level_deadline = options.level_deadline;
  c.first_round = (random_u64() >> 2) | 1;  // differs between lives, never wraps
  return c;
}

std::string list_of(const View& view) {
  std::string text;
  for (const MemberInfo& m : view.members) text += (text.empty() ? "" : ",") + to_string(m.id);
  return text;
}

}  // namespace

CoordinatorServer::Impl::Impl(CoordinatorOptions options, ViewLog log, Fd listener, Fd wake)
    : address(net::to_string(net::local_address(listener.get()))),
      options_(std::move(options)),
      listener_(std::move(listener)),
      wake_(std::move(wake)),
      group_hash_(wire::group_hash(options_.group)),
      root_(*this, options_, std::move(log)) {}

CoordinatorServer::Impl::~Impl() = default;

CoordinatorGroup::CoordinatorGroup(CoordinatorOutlet& outlet, CoordinatorOptions options, ViewLog log)
    : outlet_(outlet),
      options_(std::move(options)),
      log_(std::move(log)),
      core_(config_of(options_, log_.id()), log_.last(), now()),
      started_(now()),
      last_member_(started_) {}

Duration CoordinatorGroup::deserted() const { return bound_.empty() ? now() - last_member_ : Duration{}; }

bool CoordinatorGroup::left() const {
  return core_.last() && core_.last()->view.members.empty() && core_.phase() == Coordinator::Phase::kIdle;
}

void CoordinatorGroup::saw_death(const Incarnation& who) {
  if (!core_.last()) return;
  std::erase_if(dead_, [&](const Incarnation& d) { return !core_.last()->view.contains(d); });
  if (core_.last()->view.contains(who)) dead_.insert(who);
}

bool CoordinatorGroup::all_dead() const {
  if (!core_.last() || core_.last()->view.members.empty()) return false;
  const std::vector<MemberInfo>& members = core_.last()->view.members;
  return std::all_of(members.begin(), members.end(), [&](const MemberInfo& m) { return dead_.contains(m.inc); });
}

void CoordinatorGroup::tick() {
  if (!bound_.empty()) last_member_ = now();
  feed(Tick{});
}

void CoordinatorGroup::lost(Connection& c) {
  const Incarnation who = *c.who;
  c.who.reset();
  bound_.erase(who);
  last_member_ = now();
  feed(MemberLost{who});
}

void CoordinatorGroup::event(std::string text) {
  log::info("coordinator", "group=" + options_.group + " event=\"" + text + "\"");
  events_.push_back({now(), std::move(text)});
  if (events_.size() > kMaxEvents) events_.pop_front();
}

std::string CoordinatorGroup::name_of(const Incarnation& inc) const {
  if (core_.last())
    if (auto i = core_.last()->view.index_of(inc)) return to_string(core_.last()->view.members[*i].id);
  auto it = core_.peers().find(inc);
  return it == core_.peers().end() ? to_string(inc) : to_string(it->second.hello.self.id);
}

Status CoordinatorGroup::on_message(Connection& c, std::span<const std::byte> payload) {
  auto message = decode_to_coordinator(payload);
  if (!message) return message.error();
  if (const auto* hello = std::get_if<Hello>(&*message)) {
    if (hello->self.inc.is_null() || (c.who && *c.who != hello->self.inc))
      return {Code::kRefused, "a hello with another incarnation than before, or none"};
    bind(c, *hello);
  } else if (!c.who) {
    return {Code::kRefused, "a message before the hello"};
  }
  c.heard = now();
  const bool beat = std::holds_alternative<Heartbeat>(*message);
  if (const auto* s = std::get_if<Suspect>(&*message)) {
    if (s->kind == SuspectKind::kDead) saw_death(s->who);
    event("member " + to_string(c.id) + (s->kind == SuspectKind::kDead ? " saw the death of " : " cannot reach ") +
          name_of(s->who));
  }
  if (std::holds_alternative<Leave>(*message)) event("member " + to_string(c.id) + " leaves");
  if (beat) outlet_.send(c, ControlFrame::kAlive, {});
  feed(FromMember{*c.who, std::move(*message)});
  return {};
}

// A newer connection of the same incarnation replaces the older one; the core never hears that that was lost.
void CoordinatorGroup::bind(Connection& c, const Hello& hello) {
  if (auto old = bound_.find(hello.self.inc); old != bound_.end() && old->second != &c) {
    Connection& before = *old->second;
    before.who.reset();
    before.closing = true;
    before.deadline = now();
  }
  if (!c.who) event("hello of member " + to_string(hello.self.id) + " installed=" + std::to_string(hello.installed));
  c.who = hello.self.inc;
  c.id = hello.self.id;
  bound_[hello.self.inc] = &c;
}

// A launcher's word. The core wants it from a peer: the member that was heard of last passes it on.
Status CoordinatorGroup::on_death(std::span<const std::byte> payload) {
  auto message = decode_to_coordinator(payload);
  if (!message) return message.error();
  const auto* suspect = std::get_if<Suspect>(&*message);
  if (suspect == nullptr || suspect->kind != SuspectKind::kDead) return {Code::kRefused, "not a report of a death"};
  saw_death(suspect->who);
  const Connection* relay = nullptr;
  for (const auto& [inc, c] : bound_)
    if (inc != suspect->who && (relay == nullptr || c->heard > relay->heard)) relay = c;
  event("the launcher saw the death of " + name_of(suspect->who));
  if (relay != nullptr) feed(FromMember{*relay->who, *suspect});
  return {};
}

void CoordinatorGroup::feed(CoordinatorInput input) {
  if (!failure_.ok()) return;
  const std::set<Incarnation> before = core_.suspected();
  CoordinatorActions actions;
  core_.on(input, now(), actions);
  if (core_.suspected() != before)
    for (const Incarnation& inc : core_.suspected())
      if (!before.contains(inc)) event("suspects member " + name_of(inc));
  run_actions(actions);
}

void CoordinatorGroup::run_actions(CoordinatorActions& actions) {
  for (const CoordinatorAction& action : actions) {
    if (const auto* message = std::get_if<SendToMember>(&action)) {
      deliver(*message);
    } else if (const auto* append = std::get_if<AppendLog>(&action)) {
      write(append->decision);
    }
  }
}

void CoordinatorGroup::write(const Decision& d) {
  writing_ = std::make_unique<Writing>();
  writing_->decision = d;
  writing_->since = now();
  writing_->thread = std::jthread([this] {
    if (options_.before_log_write) options_.before_log_write();
    writing_->status = log_.append(writing_->decision);
    writing_->done.store(true, std::memory_order_release);
    outlet_.wake();
  });
}

void CoordinatorGroup::on_wake() {
  if (!writing_ || !writing_->done.load(std::memory_order_acquire)) return;
  const Decision d = writing_->decision;
  const Duration took = now() - writing_->since;
  failure_ = writing_->status;
  writing_.reset();
  if (!failure_) return event("the view log failed, ending: " + failure_.error().detail);
  if (took > kSlowLog)
    log::warn("coordinator", "group=" + options_.group + " the disk took " + std::to_string(took.ns / 1'000'000) +
                                 " ms to write the view log " + options_.log_file + "; nothing was decided meanwhile");
  event("view " + std::to_string(d.view.epoch) + " members=" + list_of(d.view) + " trim=" + std::to_string(d.trim) +
        " plane=" + regroup::name_of(d.plane) + " reason=" + d.reason);
  feed(Logged{d.view.epoch});
}

void CoordinatorGroup::deliver(const SendToMember& message) {
  auto it = bound_.find(message.to);
  if (it == bound_.end()) return;
  Connection& c = *it->second;
  outlet_.send(c, ControlFrame::kToMember, encode(message.message));
  if (const auto* refuse = std::get_if<Refuse>(&message.message)) {
    event("refused member " + to_string(c.id) + ": " + refuse->detail);
    outlet_.close_softly(c);
  }
}

}  // namespace regroup

#include "tests/fuzz/core_world.h"

#include <algorithm>
#include <cstdio>

#include "ft/driver/codec.h"
#include "transport/wire/frame.h"

namespace regroup::fuzz {
namespace {

constexpr std::size_t kMaxLives = 8;

// Through the codec, as over a connection. A text may be cut; nothing else may change.
ToMember carried(const ToMember& m) {
  auto back = decode_to_member(encode(m));
  RG_CHECK(back.ok() && encode(*back) == encode(m));
  return std::move(*back);
}
ToCoordinator carried(const ToCoordinator& m) {
  auto back = decode_to_coordinator(encode(m));
  RG_CHECK(back.ok() && encode(*back) == encode(m));
  return std::move(*back);
}

std::uint64_t fingerprint(const Decision& d) { return wire::checksum(encode(d)) | 1; }

template <class List, class Less>
bool ascending(const List& list, Less less) {
  return std::adjacent_find(list.begin(), list.end(), [&](auto& a, auto& b) { return !less(a, b); }) == list.end();
}

}  // namespace

World::World(Source& source) : source_(source) {
  const std::uint8_t kind = source_.u8();
  honest_ = (kind & 1) == 0;
  world_size_ = 1 + (kind >> 1) % 3;
  locality_ = (kind & 16) != 0 ? 0 : 1;
  start_coordinator();
  for (std::uint32_t replica = 0; replica < world_size_; ++replica) {
    Life& life = spawn(replica);
    life.connected = true;
    member_on(life, Parked{});
    member_on(life, Connected{});
  }
}

Life& World::spawn(std::uint32_t replica) {
  MemberConfig config;
  config.group = "g";
  config.self.id = {replica, 0};
  config.self.inc = {1, lives_.size() + 1};
  config.self.locality = locality_;
  config.config_hash = 1;
  config.world_size = world_size_;
  Life& life = lives_.emplace_back(config);
  life.index = static_cast<std::uint32_t>(lives_.size() - 1);
  return life;
}

void World::start_coordinator() {
  CoordinatorConfig config;
  config.group = "g";
  config.log = kLog;
  config.first_round = ++coordinator_life_ << 32 | 1;
  writing_.reset();
  coordinator_.emplace(config, durable_.empty() ? std::nullopt : std::optional(durable_.back()), now_);
  for (Life& life : lives_) {
    life.connected = life.bound = false;
    life.up.clear(), life.down.clear();
  }
}

void World::record(sim::Record r) {
  if (!honest_) return;
  const std::string wrong = checker_.on(r);
  RG_CHECK_MSG(wrong.empty(), wrong.c_str());
}

sim::Record World::about(const Life& life, sim::What what, OpId op, Epoch epoch) const {
  sim::Record r;
  r.life = life.index, r.replica = life.member.config().self.id.replica, r.log = life.member.log();
  r.what = what, r.op = op, r.epoch = epoch;
  return r;
}

// Whatever it was told: decisions one after the other, one at a time, each a possible one; nobody hears of one before
// it is durable.
void World::act(const AppendLog& action) {
  const Decision& d = action.decision;
  const Decision last = durable_.empty() ? Decision{} : durable_.back();
  RG_CHECK(!writing_);
  RG_CHECK(d.view.log == kLog && d.view.epoch == last.view.epoch + 1 && d.prev == last.view.epoch);
  RG_CHECK(d.trim >= last.trim && d.high >= d.trim);
  RG_CHECK(ascending(d.view.members, [](auto& a, auto& b) { return a.id < b.id; }));
  RG_CHECK(ascending(d.failed, [](auto& a, auto& b) { return a.op < b.op; }));
  for (const FailedOp& f : d.failed) RG_CHECK(f.op > d.trim);
  std::set<Incarnation> members;
  for (const MemberInfo& m : d.view.members) RG_CHECK(members.insert(m.inc).second);
  for (const Incarnation& j : d.joined) RG_CHECK(members.contains(j) && !last.view.contains(j));
  for (const Incarnation& m : members)
    RG_CHECK(last.view.contains(m) || std::find(d.joined.begin(), d.joined.end(), m) != d.joined.end());
  RG_CHECK(!d.founds() || (d.planned && d.joined.size() == d.view.members.size() && d.high == d.trim));
  const auto back = decode_decision(encode(d));
  RG_CHECK(back.ok() && encode(*back) == encode(d));
  writing_ = d;
}

void World::act(const SendToMember& action) {
  const Decision* made = nullptr;
  if (const auto* m = std::get_if<Install>(&action.message)) made = &m->decision;
  if (const auto* m = std::get_if<Wedge>(&action.message)) made = &m->made;
  if (made != nullptr) RG_CHECK(std::find(durable_.begin(), durable_.end(), *made) != durable_.end());
  auto to = std::find_if(lives_.begin(), lives_.end(), [&](const Life& l) { return l.inc() == action.to; });
  if (to != lives_.end() && to->connected && to->bound) to->down.push_back(carried(action.message));
}

void World::coordinator_on(const CoordinatorInput& input) {
  CoordinatorActions actions;
  coordinator_->on(input, now_, actions);
  for (const CoordinatorAction& action : actions) std::visit([&](const auto& a) { act(a); }, action);
  RG_CHECK((coordinator_->phase() == Coordinator::Phase::kLogging) == writing_.has_value());
  RG_CHECK(coordinator_->last() == (durable_.empty() ? std::nullopt : std::optional(durable_.back())));
}

void World::act(Life& life, const InstallData& action) {
  const Decision& d = action.decision;
  RG_CHECK(d.view.epoch > life.counter.epoch() && action.self < d.view.members.size());
  RG_CHECK(d.view.members[action.self].inc == life.inc() && life.member.decision() == d);
  RG_CHECK(life.counter.epoch() == 0 || life.counter.frozen() || !honest_);  // it has reported in the ended epoch
  const bool first = life.counter.epoch() == 0;
  if (first && honest_ && !d.founds())
    record(about(life, sim::What::kRestored, d.trim, 0));
  sim::Record r = about(life, sim::What::kInstall, d.trim, d.view.epoch);
  r.log = d.view.log, r.decision = fingerprint(d);
  record(r);
  for (OpId k = life.counter.committed() + 1; !first && honest_ && k <= d.trim; ++k) {
    RG_CHECK(k <= life.counter.prepared());
    record(about(life, sim::What::kCommitted, k, life.counter.epoch()));
  }
  life.counter.install(d, action.self);
  life.freeze.reset();
  life.cut_told = false;
  life.asked.clear();
  life.ready[d.view.epoch] = d.trim;
  life.words[d.view.epoch] = life.counter.prepared();
}

void World::member_on(Life& life, const MemberInput& input) {
  if (!life.alive) return;
  const LogId log = life.member.log();
  MemberActions actions;
  life.member.on(input, actions);
  RG_CHECK(!life.over || actions.empty());
  for (const MemberAction& action : actions) {
    if (const auto* send = std::get_if<SendToCoordinator>(&action)) {
      if (life.connected) life.up.push_back(carried(send->message));
    } else if (const auto* order = std::get_if<FreezeData>(&action)) {
      RG_CHECK(order->epoch == life.counter.epoch() && !life.freeze);
      life.freeze = order->epoch;
    } else if (const auto* install = std::get_if<InstallData>(&action)) {
      act(life, *install);
    } else if (const auto* cut = std::get_if<CutData>(&action)) {
      if (cut->epoch == life.counter.epoch()) life.counter.plan_cut();
    } else if (const auto* fetch = std::get_if<FetchState>(&action)) {
      life.fetch = fetch->what;
    } else if (std::holds_alternative<DropCoordinator>(action)) {
      life.connected = false;
      life.up.clear(), life.down.clear();
    } else if (const auto* end = std::get_if<Ended>(&action)) {
      RG_CHECK(!life.over && &action == &actions.back());
      life.over = true;
      life.connected = false;
      sim::Record r = about(life, sim::What::kEnded, 0, 0);
      r.code = end->code;
      record(r);
    }
  }
  RG_CHECK(life.member.installed() == life.counter.epoch() && (log == 0 || life.member.log() == log));
}

// `again`: it stays on its way, and comes a second time.
void World::carry_up(Life& life, bool again) {
  if (life.up.empty()) return;
  const ToCoordinator message = life.up.front();
  if (!again) life.up.pop_front();
  if (std::holds_alternative<Hello>(message)) life.bound = true;
  if (life.bound) coordinator_on(FromMember{life.inc(), message});
}

void World::carry_down(Life& life, bool again) {
  if (life.down.empty()) return;
  const ToMember message = life.down.front();
  if (!again) life.down.pop_front();
  member_on(life, FromCoordinator{message});
}

void World::carry_all(bool up) {
  for (Life& life : lives_)
    for (int i = 0; i < 16 && !(up ? life.up.empty() : life.down.empty()); ++i)
      up ? carry_up(life, false) : carry_down(life, false);
}

// The decision is on the disk; the coordinator hears of it, or has died.
void World::sync(bool dies) {
  if (!writing_) return;
  if (honest_) {
    sim::Record r;
    r.what = sim::What::kDurable, r.log = kLog, r.epoch = writing_->view.epoch, r.prev = writing_->prev;
    r.op = writing_->trim, r.high = writing_->high, r.planned = writing_->planned, r.founded = writing_->founds(), r.decision = fingerprint(*writing_);
    record(r);
  }
  durable_.push_back(*std::exchange(writing_, std::nullopt));
  if (dies)
    start_coordinator();  // nobody was told
  else
    coordinator_on(Logged{durable_.back().view.epoch});
}

// Everything that is due happens once: where nothing goes wrong, a few of these are a whole view change.
void World::round(bool data) {
  carry_all(true);
  carry_all(false);
  sync(false);
  for (Life& life : lives_) answer(life);
  for (std::uint8_t what = 0; data && what < 4; ++what)
    for (Life& life : lives_) data_step(life, what);
}

void World::step() {
  const std::uint8_t what = source_.u8();
  Life& life = lives_[source_.u8() % lives_.size()];
  switch (what % 16) {
    case 0:
    case 1: return (what & 64) != 0 ? carry_all(true) : carry_up(life, (what & 128) != 0);
    case 2:
    case 3: return (what & 64) != 0 ? carry_all(false) : carry_down(life, (what & 128) != 0);
    case 4:
      if ((what & 64) != 0) return round((what & 32) != 0);
      return sync((what & 128) != 0);
    case 5: {
      constexpr std::int64_t ms[] = {0, 1, 60, 200, 1000, 5000, 40000, 1'000'000};
      now_ = now_ + Duration::from_ms(ms[(what >> 4) % 8]);
      return coordinator_on(Tick{});
    }
    case 6:  // its connection breaks; what it has said may still arrive
      life.connected = false;
      life.down.clear();
      if ((what & 16) != 0) life.up.clear();
      return;
    case 7:
      if (life.connected || !life.bound) return;
      life.bound = false;
      life.up.clear();
      return coordinator_on(MemberLost{life.inc()});
    case 8:
      if (life.over || life.connected) return;
      life.up.clear(), life.down.clear();
      life.connected = true;
      member_on(life, Connected{});
      if (life.member.phase() == Member::Phase::kObserver) member_on(life, Parked{});
      return;
    case 9:
      if ((what & 128) != 0) return start_coordinator();
      if ((what & 64) != 0) return void(life.alive = life.connected = false);
      if (lives_.size() < kMaxLives) (void)spawn(source_.u8() % 3);
      return;
    case 10:
    case 11:
    case 12:
      if ((what & 64) == 0) return data_step(life, what >> 4);
      for (Life& each : lives_) data_step(each, what >> 4);
      return;
    case 13:
      if ((what & 64) == 0) return answer(life);
      for (Life& each : lives_) answer(each);
      return;
    case 14: {
      const OpId op = life.counter.committed() + 1 + (what >> 4) % 3;
      const Life& other = lives_[source_.u8() % lives_.size()];
      if ((what & 64) != 0) {
        member_on(life, PeerSuspected{other.inc(), source_.flag() ? SuspectKind::kLink : SuspectKind::kDead});
      } else if ((what & 128) != 0) {
        member_on(life, ChangeWanted{life.counter.epoch(), source_.flag(), "asked"});
      } else if (op <= life.counter.high()) {
        life.asked.insert(op);
        member_on(life, OpRefused{FailedOp{op, source_.flag() ? Code::kMismatch : Code::kCancelled, {}, {}}});
      }
      return;
    }
    case 15:
      if (!honest_) return forge(life, what >> 4);
      if ((what & 128) != 0)
        member_on(life, LeaveWanted{});
      else if (life.connected)
        life.up.push_back(Heartbeat{life.counter.epoch(), life.counter.committed()});
      return;
  }
}

}  // namespace regroup::fuzz

// Connections, the coordinator's process, and what the members' cores order.
#include <algorithm>

#include "ft/sim/world.h"

namespace regroup::sim {
namespace {

constexpr std::int64_t kMs = 1'000'000;

}  // namespace

std::uint64_t fingerprint(const Decision& d) {
  std::uint64_t h = mix(d.view.log, d.view.epoch);
  const auto add = [&](std::uint64_t x) { h = mix(h ^ x, 7); };
  add(d.prev), add(d.trim), add(d.high), add(static_cast<std::uint64_t>(d.plane));
  for (const MemberInfo& m : d.view.members) add(m.inc.lo);
  for (const FailedOp& f : d.failed) add(f.op), add(static_cast<std::uint64_t>(f.code));
  return h | 1;
}

Life* World::life_of(const Incarnation& inc) {
  auto it = by_inc_.find(inc);
  return it == by_inc_.end() ? nullptr : &lives_[it->second];
}

std::uint32_t World::spawn(std::uint32_t replica) {
  const auto index = static_cast<std::uint32_t>(lives_.size());
  MemberConfig config;
  config.group = "sim";
  config.self.id = {replica, 0};
  config.self.inc = {scenario_.seed | 1, index + 1};
  config.self.locality = scenario_.plane == PlaneKind::kShared ? 1 : 0;
  config.config_hash = 1;
  config.world_size = scenario_.members;
  Life& life = lives_.emplace_back(config);
  life.index = index;
  life.replica = replica;
  life.inc = config.self.inc;
  by_inc_[life.inc] = index;
  if (index >= scenario_.members) ++report_.restarts;
  note("member " + std::to_string(replica) + " starts as life " + std::to_string(index));
  push(0, Ev::kConnect, index);
  push(around(scenario_.suspicion.ns / 10), Ev::kBeat, index);
  member_on(life, Parked{scenario_.follow ? Readiness::kFounder : Readiness::kHold});
  return index;
}

void World::start_coordinator(std::size_t disk) {
  disk_ = disk;
  ++coordinator_life_;
  CoordinatorConfig config;
  config.group = "sim";
  config.log = disks_[disk].log;
  config.suspicion = scenario_.suspicion;
  config.max_tick_gap = Duration{scenario_.suspicion.ns / 5};
  config.lost_grace = Duration{scenario_.suspicion.ns / 20};
  config.wedge_deadline = scenario_.wedge_deadline;
  config.level_deadline = scenario_.level_deadline;
  config.first_round = std::uint64_t{coordinator_life_} << 32 | 1;
  std::optional<Decision> last;
  if (!disks_[disk].decisions.empty()) last = disks_[disk].decisions.back();
  coordinator_.emplace(config, last, Instant{now_});
  coordinator_paused_ = 0;
  writing_.reset();
  note("coordinator starts" + std::string(disk == 0 ? "" : " with an empty log"));
  push(scenario_.suspicion.ns / 20, Ev::kTick, coordinator_life_);
}

void World::stop_coordinator() {
  if (!coordinator_) return;
  note("coordinator dies");
  if (writing_ && rng_.below(2) == 0) {  // it had reached the disk, and nobody was told
    written();
  }
  writing_.reset();
  coordinator_.reset();
  conn_of_.clear();
  for (std::size_t i = 0; i < conns_.size(); ++i)
    if (conns_[i].up && conns_[i].coordinator == coordinator_life_) break_conn(static_cast<int>(i), false);
}

void World::connect(std::uint32_t index) {
  Life& life = lives_[index];
  if (!life.runs() || life.conn >= 0) return;
  const std::uint32_t host = host_of(life);
  if (!coordinator_ || blocked(host, kMaxMembers) || blocked(kMaxMembers, host) || now_ < life.paused_until)
    return push(around(scenario_.suspicion.ns / 20), Ev::kConnect, index);
  life.conn = static_cast<int>(conns_.size());
  life.deaf_since = 0;
  conns_.push_back({index, coordinator_life_, true, false, false, {}, {}});
  if (log_ != nullptr) note("life " + std::to_string(index) + " connects");
  member_on(life, Connected{});
}

// `tell`: the coordinator's end is closed, sooner or later.
void World::break_conn(int index, bool tell) {
  Conn& c = conns_[static_cast<std::size_t>(index)];
  if (!c.up) return;
  c.up = false;
  if (rng_.below(2) == 0) c.to_coordinator.clear();  // else what is on its way still arrives
  c.to_member.clear();
  Life& life = lives_[c.life];
  life.conn = -1;
  if (tell) push(around(scenario_.delay * 4), Ev::kLost, static_cast<std::uint32_t>(index));
  if (life.runs()) push(around(scenario_.suspicion.ns / 50), Ev::kConnect, c.life);
}

void World::send_up(Life& life, ToCoordinator message) {
  if (life.conn < 0) return;
  const auto index = static_cast<std::uint32_t>(life.conn);
  Conn& c = conns_[index];
  c.to_coordinator.push_back(std::move(message));
  push(around(scenario_.delay) * clog_ * life.slow, Ev::kUp, index);
}

void World::deliver_up(const Event& e) {
  Conn& c = conns_[e.a];
  if (c.to_coordinator.empty() || !coordinator_ || c.coordinator != coordinator_life_) return;
  const std::uint32_t host = host_of(lives_[c.life]);
  if (now_ < coordinator_paused_ || blocked(host, kMaxMembers))
    return push(std::max(coordinator_paused_ - now_, around(scenario_.suspicion.ns / 30)), Ev::kUp, e.a);
  if (!liveness_ && c.to_coordinator.size() > 1 && chance(scenario_.overtake, 1024)) std::swap(c.to_coordinator[0], c.to_coordinator[1]), c.lossy = true;
  ToCoordinator message = std::move(c.to_coordinator.front());
  c.to_coordinator.pop_front();
  if (!liveness_ && chance(scenario_.lose, 1024)) {
    if (c.up) break_conn(static_cast<int>(e.a), true);
    return;
  }
  const Incarnation inc = lives_[c.life].inc;
  if (std::holds_alternative<Hello>(message)) {
    c.known = true;
    const int before = std::exchange(conn_of_.try_emplace(inc, static_cast<int>(e.a)).first->second, static_cast<int>(e.a));
    if (before != static_cast<int>(e.a)) break_conn(before, false);  // the server closes what another replaces
    if (!c.up) push(around(scenario_.delay), Ev::kLost, e.a);        // it reads the end of this one next
  } else if (auto it = conn_of_.find(inc); it == conn_of_.end() || it->second != static_cast<int>(e.a)) {
    return;  // the server takes nothing from a connection that another has replaced
  }
  if (!liveness_ && chance(scenario_.repeat, 1024)) coordinator_on(FromMember{inc, message});
  if (coordinator_) coordinator_on(FromMember{inc, std::move(message)});
}

void World::deliver_down(const Event& e) {
  Conn& c = conns_[e.a];
  if (c.to_member.empty() || !c.up) return;
  Life& life = lives_[c.life];
  if (!life.runs()) return;
  if (now_ < life.paused_until || blocked(kMaxMembers, host_of(life)))
    return push(std::max(life.paused_until - now_, around(scenario_.suspicion.ns / 30)), Ev::kDown, e.a);
  if (!liveness_ && c.to_member.size() > 1 && chance(scenario_.overtake, 1024)) std::swap(c.to_member[0], c.to_member[1]), c.lossy = true;
  ToMember message = std::move(c.to_member.front());
  c.to_member.pop_front();
  if (!liveness_ && chance(scenario_.lose, 1024)) return break_conn(static_cast<int>(e.a), true);
  if (!liveness_ && chance(scenario_.repeat, 1024)) member_on(life, FromCoordinator{message});
  if (life.runs() && life.conn == static_cast<int>(e.a)) member_on(life, FromCoordinator{std::move(message)});
}

// Another log's coordinator reaches a member: it wedges the view that the member is in, and decides.
void World::stranger(Life& life) {
  if (life.counter.epoch() == 0 || life.member.log() == disks_[1].log) return;
  Decision fake = life.member.decision();
  fake.view.log = disks_[1].log;
  member_on(life, FromCoordinator{Wedge{1, fake}});
  fake.prev = fake.view.epoch++;
  fake.trim = life.counter.committed();
  if (life.runs()) member_on(life, FromCoordinator{Install{fake}});
  if (life.runs() && rng_.below(2) == 0) member_on(life, FromCoordinator{Evicted{fake.view.log, fake.view.epoch + 1}});
}

void World::coordinator_on(const CoordinatorInput& input) {
  CoordinatorActions actions;
  coordinator_->on(input, Instant{now_}, actions);
  for (CoordinatorAction& action : actions) {
    if (auto* send = std::get_if<SendToMember>(&action)) {
      auto it = conn_of_.find(send->to);
      if (it == conn_of_.end()) continue;
      Conn& c = conns_[static_cast<std::size_t>(it->second)];
      if (!c.up) continue;
      c.to_member.push_back(std::move(send->message));
      push(around(scenario_.delay) * clog_, Ev::kDown, static_cast<std::uint32_t>(it->second));
    } else {
      writing_ = std::get<AppendLog>(action).decision;
      push(around(scenario_.sync), Ev::kSynced, coordinator_life_);
    }
  }
}

// Every tenth of the suspicion time: a sign of life, and a look at what has been silent for long.
void World::beat(Life& life) {
  push(scenario_.suspicion.ns / 10 * life.slow / std::max<std::int64_t>(life.slow / 2, 1), Ev::kBeat, life.index);
  if (life.conn >= 0) {
    const std::uint32_t host = host_of(life);
    const bool deaf = blocked(host, kMaxMembers) || blocked(kMaxMembers, host) || now_ < coordinator_paused_;
    if (!deaf) life.deaf_since = 0;
    else if (life.deaf_since == 0) life.deaf_since = now_;
    if (conns_[static_cast<std::size_t>(life.conn)].lossy) break_conn(life.conn, true);
    else if (life.deaf_since != 0 && now_ - life.deaf_since > scenario_.suspicion.ns) break_conn(life.conn, !blocked(host, kMaxMembers));
  } else {
    push(0, Ev::kConnect, life.index);
  }
  send_up(life, Heartbeat{life.member.installed(), life.counter.committed()});
  watch_links(life);
  wake(life, 0);
}

void World::member_on(Life& life, const MemberInput& input) {
  MemberActions actions;
  life.member.on(input, actions);
  for (const MemberAction& action : actions)
    if (life.runs()) act(life, action);
}

void World::act(Life& life, const MemberAction& action) {
  if (const auto* send = std::get_if<SendToCoordinator>(&action)) return send_up(life, send->message);
  if (const auto* order = std::get_if<FreezeData>(&action))
    return push(around(scenario_.delay / 10 + 100) * life.slow, Ev::kFreeze, life.index, 0, order->epoch);
  if (const auto* order = std::get_if<InstallData>(&action)) return install(life, *order);
  if (const auto* order = std::get_if<CutData>(&action)) {
    if (order->epoch != life.counter.epoch()) return;
    life.counter.plan_cut();
    return report_cut(life);
  }
  if (const auto* fetch = std::get_if<FetchState>(&action)) {
    Life* source = life_of(fetch->what.source.inc);
    if (doom_ == 1u && scenario_.follow && doomed(life, source)) return;
    if (!liveness_ && std::exchange(hand_over_, false)) {
      ++report_.faults[static_cast<std::size_t>(FaultKind::kHandOver)];
      all_leave();
    }
    const std::uint64_t from = source == nullptr ? UINT32_MAX : source->index;
    return push(around(scenario_.delay * 10) * clog_ * life.slow, Ev::kFetched, life.index, static_cast<std::uint32_t>(from),
                fetch->what.plan, fetch->what.op);
  }
  if (const auto* follow = std::get_if<FollowView>(&action)) {
    if (scenario_.follow && !follow->view.members.empty()) catch_up(life);
    return;
  }
  if (const auto* drop = std::get_if<DropCoordinator>(&action)) {
    if (log_ != nullptr) note("life " + std::to_string(life.index) + " drops the coordinator: " + drop->why);
    if (life.conn >= 0) break_conn(life.conn, true);
    return;
  }
  if (const auto* ended = std::get_if<Ended>(&action)) return end_life(life, ended->code);
}

// An observer that catches up: the transfer takes its time, and a view may end it.
void World::catch_up(Life& life) {
  if (std::exchange(life.catching_up, true)) return;
  for (Life& other : lives_)
    if (&other != &life && other.catching_up && other.runs() && other.replica != life.replica) other.with_other = life.with_other = true;
  push(around(scenario_.delay * 40 + scenario_.think * static_cast<std::int64_t>(rng_.below(8))) * life.slow, Ev::kCaughtUp, life.index);
}

void World::caught_up(Life& life) {
  life.catching_up = false;
  if (!life.runs() || life.member.phase() != Member::Phase::kObserver) return;
  if (doom_ == 0u && !lives_.empty()) {
    auto source = std::find_if(lives_.begin(), lives_.end(), [&](const Life& l) { return l.runs() && l.counter.epoch() != 0; });
    if (source != lives_.end() && doomed(life, &*source)) return;
  }
  if (now_ < life.paused_until || (!liveness_ && rng_.below(8) == 0)) {  // begins anew
    ++report_.snapshots_again;
    return catch_up(life);
  }
  member_on(life, Parked{Readiness::kLevel});
  if (!liveness_ && rng_.below(8) == 0 && life.runs()) {  // its feeder is gone: it is no longer level
    member_on(life, Parked{Readiness::kFounder});
    catch_up(life);
  }
}

// The transfer is over: the source gives its state if it still stands at the mark.
void World::fetched(const Event& e) {
  Life& life = lives_[e.a];
  if (!life.runs()) return;
  if (now_ < life.paused_until) return push(life.paused_until - now_, Ev::kFetched, e.a, e.b, e.x, e.y);
  bool ok = false;
  if (e.b < lives_.size()) {
    const Life& source = lives_[e.b];
    const bool reached = !blocked(host_of(source), host_of(life)) && !blocked(host_of(life), host_of(source));
    ok = source.runs() && now_ >= source.paused_until && reached && source.settled == e.y;
    if (ok) life.fetched = {e.y, source.state};
  }
  if (log_ != nullptr) note("life " + std::to_string(e.a) + (ok ? " is level as of op " : " did not get the state as of op ") + std::to_string(e.y));
  member_on(life, LevelReached{e.x, e.y, ok});
  if (!ok && scenario_.follow && life.runs()) catch_up(life);
}

void World::freeze(Life& life, Epoch epoch) {
  if (epoch != life.counter.epoch()) return;
  const Report report = life.counter.freeze();
  Record r;
  r.life = life.index, r.replica = life.replica, r.what = What::kWedge, r.epoch = epoch, r.op = report.prepared;
  r.log = life.member.log();
  record(r);
  if (log_ != nullptr) {
    std::string text = "life " + std::to_string(life.index) + " reports prepared " + std::to_string(report.prepared) + " committed " +
                       std::to_string(report.committed) + " high " + std::to_string(report.high) + " digests";
    for (std::uint64_t d : report.digests) text += " " + std::to_string(d);
    note(text);
  }
  member_on(life, Frozen{report});
}

void World::install(Life& life, const InstallData& order) {
  const Decision& d = order.decision;
  const bool first = life.counter.epoch() == 0;
  const EpochMemoryPtr ended = life.now;
  if (first && life.fetched && !d.founds()) {  // who was handed the state in vain, and founds later, begins anew
    Record r;
    r.life = life.index, r.replica = life.replica, r.what = What::kRestored, r.log = d.view.log;
    r.op = life.fetched->first, r.state = life.fetched->second;
    record(r);
    life.settled = life.fetched->first;
    life.state = life.fetched->second;
    ++report_.joins;
    report_.joins_in_change += life.in_change, report_.joins_of_two += life.with_other;
  }
  Record r;
  r.life = life.index, r.replica = life.replica, r.what = What::kInstall, r.log = d.view.log, r.epoch = d.view.epoch;
  r.op = d.trim, r.decision = fingerprint(d);
  record(r);
  if (d.view.epoch <= life.counter.epoch()) return violation("G6: epoch " + std::to_string(d.view.epoch) + " is installed again");
  if (first && d.founds()) life.settled = d.trim;
  for (SimOp& op : life.queue) {
    if (op.settled) continue;
    if (op.id <= d.trim) {
      if (!op.prepared || !ended)
        return violation("G1: epoch " + std::to_string(d.view.epoch) + " commits op " + std::to_string(op.id) + ", which member " +
                         std::to_string(life.replica) + " has not prepared");
      op.settled = ended;
      continue;
    }
    if (op.committed)
      return violation("G1: op " + std::to_string(op.id) + ", committed at member " + std::to_string(life.replica) +
                       ", is redone in epoch " + std::to_string(d.view.epoch));
    if (op.begun != 0) ++report_.redos;
    op.prepared = op.asked = false;
  }
  life.counter.install(d, order.self);
  auto memory = std::make_shared<EpochMemory>();
  memory->epoch = d.view.epoch;
  memory->decision = d;
  memory->self = order.self;
  for (const MemberInfo& m : d.view.members) memory->lives.push_back(by_inc_.at(m.inc));
  memory->ready = memory->placed = memory->prepared = memory->released = d.trim;
  memory->prepared = std::max(memory->prepared, life.counter.prepared());
  memory->peer_prepared.fill(d.trim);
  if (bug_ == DataBug::kOldResult && ended) memory->scratch = ended->scratch, memory->placed = std::max(ended->placed, d.trim);
  life.memory[d.view.epoch] = memory;
  life.now = memory;
  life.ask_digest = false;
  life.stuck_since = 0;
  wake_peers(*memory, life);
  enter_messages(life);
  if (auto it = early_.find(life.index); it != early_.end()) {
    std::vector<Data> waiting = std::move(it->second);
    early_.erase(it);
    for (const Data& data : waiting) receive(life, data);
  }
  if (!std::exchange(life.submit_due, true)) push(around(scenario_.think), Ev::kSubmit, life.index);
  wake(life, around(scenario_.delay / 4 + 100));
}

void World::end_life(Life& life, Code code) {
  Record r;
  r.life = life.index, r.replica = life.replica, r.what = What::kEnded, r.code = code, r.log = life.member.log();
  record(r);
  life.over = true;
  if (life.conn >= 0) break_conn(life.conn, true);
  const std::vector<Decision>& decisions = disks_[0].decisions;
  const bool all_left = !decisions.empty() && decisions.back().view.members.empty();
  if (code == Code::kClosed) life.left = true;
  if (code != Code::kClosed || all_left) push(around(10 * kMs), Ev::kSpawn, life.replica);  // it was evicted or refused: again, as a new incarnation
}

void World::die(Life& life, bool silent) {
  if (!life.runs()) return;
  note("life " + std::to_string(life.index) + " of member " + std::to_string(life.replica) + " dies");
  life.alive = false;
  if (life.conn >= 0) break_conn(life.conn, !silent);
  if (life.now)
    for (std::uint32_t peer : life.now->lives) {
      if (rng_.below(2) == 0) ++link_[{life.index, peer}];  // what it sent last is lost
      if (!silent && peer != life.index && rng_.below(2) == 0) push(around(scenario_.delay), Ev::kTell, peer, life.index);
    }
}

}  // namespace regroup::sim

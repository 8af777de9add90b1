#include "ft/sim/world.h"

#include <algorithm>
#include <cinttypes>

namespace regroup::sim {
namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kLivenessBound = 120'000 * kMs;
constexpr std::uint64_t kMaxEvents = 20'000'000;  // a run that takes more is one that never ends

}  // namespace

World::World(const Scenario& scenario, DataBug bug, std::string* log)
    : scenario_(scenario), bug_(bug), log_(log), rng_(mix(scenario.seed, 2)), message_rng_(mix(scenario.seed, 6)) {
  report_.violation.clear();
  disks_[0].log = mix(scenario.seed, 3) | 1;
  disks_[1].log = mix(scenario.seed, 4) | 1;
}

std::int64_t World::around(std::int64_t mean, Rng& rng) {
  const std::int64_t ns = mean / 2 + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(mean) + 1));
  return rng.below(32) == 0 ? 8 * ns : ns;
}

void World::push(std::int64_t delay, Ev what, std::uint32_t a, std::uint32_t b, std::uint64_t x, std::uint64_t y) {
  events_.push({now_ + delay, seq_++, what, a, b, x, y});
}

void World::note(const std::string& text) {
  if (log_ != nullptr) *log_ += "# " + std::to_string(now_) + " " + text + "\n";
}

void World::violation(const std::string& text) {
  if (report_.violation.empty()) report_.violation = text;
  note("VIOLATION " + text);
}

void World::record(Record r) {
  r.time_ns = now_;
  if (log_ != nullptr) *log_ += to_json(r);
  if (std::string wrong = checker_.on(r); !wrong.empty()) violation(wrong);
}

RunReport World::run() {
  start_coordinator(0);
  for (std::uint32_t i = 0; i < scenario_.members; ++i) push(around(scenario_.delay), Ev::kSpawn, i);
  for (std::uint32_t i = 0; i < scenario_.faults.size(); ++i)
    events_.push({scenario_.faults[i].at, seq_++, Ev::kFault, i, 0, 0, 0});
  while (report_.violation.empty() && !events_.empty()) {
    const Event e = events_.top();
    events_.pop();
    now_ = e.at;
    if (!liveness_ && now_ >= scenario_.faults_end) begin_liveness();
    dispatch(e);
    if (++report_.events > kMaxEvents) violation("G5: no end in sight");
    if (liveness_ && (e.what == Ev::kTick || e.what == Ev::kBeat)) {
      if (done()) break;
      if (now_ > bound_) violation("G5: " + who_is_stuck());
    }
  }
  report_.commits = checker_.totals().commits;
  report_.failures = checker_.totals().failures;
  report_.messages = checker_.totals().messages;
  report_.messages_failed = checker_.totals().messages_failed;
  report_.view_changes = disks_[0].decisions.size();
  report_.virtual_ns = now_;
  return report_;
}

// The decision has reached the disk.
Epoch World::written() {
  const Decision d = *std::exchange(writing_, std::nullopt);
  Record r;
  r.what = What::kDurable;
  r.log = disks_[disk_].log;
  r.epoch = d.view.epoch, r.prev = d.prev, r.op = d.trim, r.high = d.high, r.planned = d.planned;
  r.founded = d.founds();
  r.decision = fingerprint(d);
  disks_[disk_].decisions.push_back(d);
  for (Life& life : lives_) life.in_change = life.in_change || (life.catching_up && !d.planned);
  record(r);
  for (std::uint32_t i = 0; i < scenario_.members && d.view.members.empty() && disk_ == 0; ++i)
    push(around(scenario_.delay * 10), Ev::kSpawn, i);  // all have left: a new world comes
  return r.epoch;
}

void World::dispatch(const Event& e) {
  switch (e.what) {
    case Ev::kUp: return deliver_up(e);
    case Ev::kDown: return deliver_down(e);
    case Ev::kConnect: return connect(e.a);
    case Ev::kFault: return fault(scenario_.faults[e.a]);
    case Ev::kEndFault: return end_fault(e);
    case Ev::kCaughtUp: return caught_up(lives_[e.a]);
    case Ev::kFetched: return fetched(e);
    case Ev::kData: return arrived(e);
    case Ev::kSpawn:
      if (living(e.a) == nullptr || e.b != 0) spawn(e.a);
      return;
    case Ev::kCoordinator:
      if ((coordinator_ && disk_ == e.a) || (liveness_ && e.a != 0)) return;
      // A group that is founded while the log is forgotten is one that the log, when it is back, knows nothing of.
      if (e.a != 0 && disks_[0].decisions.back().view.members.empty()) return;
      stop_coordinator();
      return start_coordinator(e.a);
    case Ev::kLost: {
      Conn& c = conns_[e.a];
      if (!coordinator_ || c.coordinator != coordinator_life_ || !c.known) return;
      auto it = conn_of_.find(lives_[c.life].inc);
      if (it == conn_of_.end() || it->second != static_cast<int>(e.a)) return;
      if (now_ < coordinator_paused_) return push(coordinator_paused_ - now_, Ev::kLost, e.a);
      conn_of_.erase(it);
      return coordinator_on(MemberLost{lives_[c.life].inc});
    }
    case Ev::kTick:
      if (!coordinator_ || e.a != coordinator_life_) return;
      push(scenario_.suspicion.ns / 20, Ev::kTick, e.a);
      if (now_ >= coordinator_paused_) coordinator_on(Tick{});
      return;
    case Ev::kSynced:
      if (!coordinator_ || e.a != coordinator_life_ || !writing_) return;
      if (now_ < coordinator_paused_) return push(coordinator_paused_ - now_, Ev::kSynced, e.a);
      return coordinator_on(Logged{written()});
    default: break;
  }
  Life& life = lives_[e.a];  // what only a running member does
  if (!life.runs()) return;
  if (now_ < life.paused_until) {
    events_.push({life.paused_until, seq_++, e.what, e.a, e.b, e.x, e.y});
    if (e.what == Ev::kWake) life.wake_at = life.paused_until;
    return;
  }
  switch (e.what) {
    case Ev::kWake:
      if (e.at != life.wake_at) return;
      life.wake_at = INT64_MAX;
      anywhere(life);
      if (life.runs() && now_ >= life.paused_until && step(life)) wake(life, around(std::max<std::int64_t>(scenario_.delay / 20, 200)));
      return;
    case Ev::kSubmit:
      life.submit_due = false;
      return submit(life);
    case Ev::kFreeze: return freeze(life, e.x);
    case Ev::kBeat: return beat(life);
    case Ev::kMessage: return message_step(life);
    case Ev::kPost: return post(e);
    case Ev::kTell:
      return member_on(life, PeerSuspected{lives_[e.b].inc, e.x == 0 ? SuspectKind::kDead : SuspectKind::kLink});
    default: return;
  }
}

// Faults end, what was cut heals, who was stopped goes on.
void World::begin_liveness() {
  liveness_ = true;
  bound_ = now_ + kLivenessBound;
  note("liveness phase");
  for (auto& row : cut_) row.fill(0);
  clog_ = 1;
  coordinator_paused_ = std::min(coordinator_paused_, now_);
  for (Life& life : lives_) life.slow = 1, life.paused_until = std::min(life.paused_until, now_);
  push(kMs, Ev::kCoordinator, 0);  // with its own log, if it is not there
  const bool founded = !disks_[0].decisions.empty() && !disks_[0].decisions.back().view.members.empty();
  for (std::uint32_t r = 0; r < scenario_.members && !founded; ++r)
    if (living(r) == nullptr) push(kMs, Ev::kSpawn, r);
}

bool World::done() {
  if (disks_[0].decisions.empty() || !coordinator_ || disk_ != 0 || writing_) return false;
  const View& view = disks_[0].decisions.back().view;
  if (view.members.empty()) return false;  // all have left: a new world comes
  const bool any = std::any_of(view.members.begin(), view.members.end(), [&](const MemberInfo& m) {
    const Life* life = life_of(m.inc);  // who never heard of its view may have founded a group on the empty log
    return life != nullptr && life->runs() && (life->member.log() == 0 || life->member.log() == disks_[0].log);
  });
  if (!any) {
    report_.lost = true;
    return true;
  }
  for (const Life& life : lives_) {
    if (!life.runs()) continue;
    if (life.member.log() != 0 && life.member.log() != disks_[0].log) continue;  // a group of its own on the empty log
    const bool member = view.contains(life.inc);
    if (!member && view.index_of(MemberId{life.replica, 0}) && life.member.phase() == Member::Phase::kObserver) {
      const Life* other = life_of(view.members[*view.index_of(MemberId{life.replica, 0})].inc);
      if (other != nullptr && other->runs()) continue;  // a second process: its place is taken
    }
    if (!member || life.leaves || life.member.phase() != Member::Phase::kActive || life.member.installed() != view.epoch) return false;
    if (life.settled != scenario_.ops.size() || !life.queue.empty()) return false;
    if (!messages_done(life)) return false;
  }
  return std::all_of(view.members.begin(), view.members.end(), [&](const MemberInfo& m) {
    const Life* life = life_of(m.inc);
    return life != nullptr && life->runs();  // the dead have been noticed
  });
}

std::string World::who_is_stuck() const {
  std::string text = "not all ended the program within " + std::to_string(kLivenessBound / kMs / 1000) + " s after the last fault:";
  const Epoch last = disks_[0].decisions.empty() ? 0 : disks_[0].decisions.back().view.epoch;
  text += " epoch " + std::to_string(last) + ", coordinator phase " +
          (coordinator_ ? std::to_string(static_cast<int>(coordinator_->phase())) : std::string("none"));
  for (const Life& life : lives_) {
    if (!life.runs()) continue;
    text += "; member " + std::to_string(life.replica) + " (life " + std::to_string(life.index) + ") phase " +
            std::to_string(static_cast<int>(life.member.phase())) + " epoch " + std::to_string(life.member.installed()) +
            " op " + std::to_string(life.settled) + "/" + std::to_string(scenario_.ops.size());
    if (life.leaves) text += " leaving";
    text += " prepared " + std::to_string(life.counter.prepared()) + " high " + std::to_string(life.counter.high());
    if (life.counter.frozen()) text += " frozen";
    for (const auto& [peer, pair] : life.pairs)
      if (!messages_done(life))
        text += " with life " + std::to_string(peer) + " settled " + std::to_string(pair->counter.settled()) + "/" +
                std::to_string(pair->sends) + " taken " + std::to_string(pair->counter.committed()) + "/" +
                std::to_string(pair->recvs);
    if (!life.queue.empty()) {
      const SimOp& op = life.queue.front();
      text += " front " + std::to_string(op.id) + (op.asked ? " asked" : "") + (op.prepared ? " prepared" : "") +
              (op.begun != 0 ? " begun in " + std::to_string(op.begun) : "");
    }
  }
  return text;
}

}  // namespace regroup::sim

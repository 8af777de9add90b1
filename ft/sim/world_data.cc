// The members' program and the two data planes: shards that stand in peers' memory, whole results held here.
#include <algorithm>
#include <bit>

#include "ft/sim/world.h"
#include "runtime/algo/shards.h"

namespace regroup::sim {
namespace {

constexpr Value kGarbage{0xdead'dead'dead'dead, 0xdead'dead'dead'dead};

Record about(const Life& life, What what, OpId op, Epoch epoch) {
  Record r;
  r.life = life.index, r.replica = life.replica, r.what = what, r.op = op, r.epoch = epoch, r.log = life.member.log();
  return r;
}

bool is_active(const Life& life) { return life.runs() && life.now != nullptr; }

}  // namespace

Value World::input_of(const Life& life, OpId op) const {
  return {std::uint64_t{1} << (4 * life.replica), mix(life.index * 0x10001ull + 1, op ^ scenario_.seed)};
}

Value World::expected(OpId op, const EpochMemory& memory) const {
  Value sum;
  for (std::size_t i = 0; i < memory.lives.size(); ++i) {
    const bool root = memory.decision.view.members[i].id.replica == spec(op).root;
    if (spec(op).kind != Kind::kBroadcast || root) sum += input_of(lives_[memory.lives[i]], op);
  }
  return sum;
}

bool World::has_shard(OpId op, std::size_t n, std::size_t i) const {
  if (spec(op).kind == Kind::kAllGather) return true;
  return i == 0 ? true : algo::shard_range(spec(op).count, n, i).size() != 0;
}

// The program: the next op after some thought, if the window has room.
void World::submit(Life& life) {
  if (!is_active(life) || life.leaving) return;
  if (life.leaves && (life.counter.high() == 0 || spec(life.counter.high()).mark)) {  // a program leaves at the end of a step
    life.leaving = true;
    return member_on(life, LeaveWanted{});
  }
  if (life.counter.high() >= scenario_.ops.size()) return;
  if (!life.counter.room(scenario_.window)) return;  // settled() comes back to it
  const OpId op = life.counter.submit(spec(life.counter.high() + 1).mark);
  life.queue.push_back({op, life.counter.epoch(), 0, false, false, false, nullptr, {}, false});
  life.inputs[op % kSlots] = {op, input_of(life, op)};
  Record r = about(life, What::kSubmitted, op, life.counter.epoch());
  r.mark = spec(op).mark;
  record(r);
  wake(life, around(200) * life.slow);
  life.submit_due = true;
  push(around(scenario_.think) * life.slow, Ev::kSubmit, life.index);
}

void World::wake(Life& life, std::int64_t delay) {
  if (!life.runs() || now_ + delay >= life.wake_at) return;
  life.wake_at = now_ + delay;
  push(delay, Ev::kWake, life.index);
}

void World::wake_peers(const EpochMemory& memory, const Life& but) {
  for (std::uint32_t peer : memory.lives)
    if (peer != but.index) wake(lives_[peer], around(scenario_.delay / 8 + 200) * lives_[peer].slow);
}

// One thing that can be done now; false: nothing.
bool World::step(Life& life) {
  if (!is_active(life) || life.queue.empty()) return false;
  SimOp& front = life.queue.front();
  if (front.settled) {  // decided by a view change: all of it stands in the ended epoch's memory
    settle_committed(life, front, *front.settled);
    return true;
  }
  if (front.committed) {
    settle_committed(life, front, *life.now);
    return true;
  }
  const bool frozen = life.counter.frozen();
  if (!frozen || scenario_.commit_when_frozen) {
    observe(life);
    if (life.counter.differs() && !frozen && !std::exchange(life.ask_digest, true))
      member_on(life, ChangeWanted{life.counter.epoch(), false, "digests"});
    if (front.prepared && life.counter.committable() >= front.id) {
      life.counter.commit(front.id);
      front.committed = true;
      return true;
    }
  }
  if (frozen && !scenario_.commit_when_frozen) return false;
  if (auto failed = life.counter.failure_of(front.id, spec(front.id).shape()); failed && !front.prepared) {
    settle_failed(life, front, failed->code);
    return true;
  }
  if (life.counter.frozen()) return false;
  for (SimOp& op : life.queue) {
    if (op.prepared || op.settled) continue;
    if (!life.counter.can_prepare(op.id) || op.asked) return false;
    if (life.counter.failure_of(op.id, spec(op.id).shape())) return false;  // when it is the front
    return prepare_step(life, op);
  }
  return false;
}

bool World::prepare_step(Life& life, SimOp& op) {
  const EpochMemory& memory = *life.now;
  const OpSpec& what = spec(op.id);
  const bool rootless = what.kind == Kind::kBroadcast && !memory.decision.view.index_of(MemberId{what.root, 0});
  if (rootless || (what.shape() && op.seen != memory.epoch)) {
    op.asked = true;
    member_on(life, OpRefused{FailedOp{op.id, Code::kViewChanged, {life.replica, 0}, {}}});
    return true;
  }
  return memory.decision.plane == PlaneKind::kShared ? shared_step(life, op) : network_step(life, op);
}

bool World::shared_step(Life& life, SimOp& op) {
  EpochMemory& mine = *life.now;
  const std::size_t n = mine.lives.size();
  if (op.begun != mine.epoch) {
    op.begun = mine.epoch;
    mine.ready = op.id;
    wake_peers(mine, life);
    return true;
  }
  if (mine.placed < op.id) {
    const OpId before = mine.scratch[op.id % scenario_.slots].op;  // what stands in my slot
    Value sum;
    for (std::size_t i = 0; i < n; ++i) {
      const Life& peer = lives_[mine.lives[i]];
      const EpochMemory* theirs = peer.memory_of(mine.epoch);
      if (theirs == nullptr || theirs->ready < op.id) return false;
      if (theirs->released < before && bug_ != DataBug::kSlotReuse) return false;
      const Input& input = peer.inputs[op.id % kSlots];
      const bool root = mine.decision.view.members[i].id.replica == spec(op.id).root;
      if (spec(op.id).kind != Kind::kBroadcast || root) sum += input.op == op.id ? input.value : kGarbage;
    }
    mine.scratch[op.id % scenario_.slots] = {op.id, sum, 0};
    mine.placed = op.id;
    if (bug_ == DataBug::kInputReleased) life.inputs[op.id % kSlots].value = kGarbage;
    wake_peers(mine, life);
    return true;
  }
  for (std::uint32_t peer : mine.lives) {
    const EpochMemory* theirs = lives_[peer].memory_of(mine.epoch);
    if (bug_ == DataBug::kOwnShard) break;
    if (theirs == nullptr || theirs->placed < op.id) return false;
  }
  prepared(life, op);
  return true;
}

bool World::network_step(Life& life, SimOp& op) {
  EpochMemory& mine = *life.now;
  const std::size_t n = mine.lives.size();
  const bool one_shot = small(op);
  if (algo::routed(form_of(op.id, n))) return route_step(life, op);
  const auto all = static_cast<std::uint32_t>((1u << n) - 1);
  EpochMemory::Staged& staged = mine.staged_of(op.id);
  if (op.begun != mine.epoch) {
    op.begun = mine.epoch;
    for (std::size_t i = 0; i < n; ++i)
      if (one_shot || has_shard(op.id, n, i)) send(life, i, Frame::kInput, op.id, input_of(life, op.id));
    return true;
  }
  const bool mine_is_due = one_shot || has_shard(op.id, n, mine.self);
  if (mine_is_due && staged.inputs != all) return false;
  if (!one_shot && mine_is_due && !std::exchange(staged.sent, true)) {
    for (std::size_t i = 0; i < n; ++i) send(life, i, Frame::kResult, op.id, spec(op.id).kind == Kind::kBroadcast ? staged.root : staged.fold);
    return true;
  }
  if (!one_shot) {
    std::uint32_t due = 0;
    for (std::size_t i = 0; i < n; ++i) due |= has_shard(op.id, n, i) ? 1u << i : 0;
    if (bug_ == DataBug::kOwnShard) due &= 1u << mine.self;
    if ((staged.results & due) != due) return false;
  }
  op.corrupt = false;
  op.whole = spec(op.id).kind == Kind::kBroadcast ? staged.root : staged.fold;
  if (!one_shot) {
    bool have = false;
    for (std::size_t i = 0; i < n; ++i) {
      if (!has_shard(op.id, n, i)) continue;
      if (have && staged.shards[i] != op.whole) op.whole = {kGarbage.counts, mix(staged.shards[i].tag, op.whole.tag)};
      else op.whole = staged.shards[i];
      have = true;
    }
  }
  hold_whole(life, op);
  return true;
}

// The whole result stands in this member's staging; as it came, or not.
void World::hold_whole(Life& life, SimOp& op) {
  const std::size_t n = life.now->lives.size();
  if (!liveness_ && n > 1 && chance(scenario_.corrupt, 1024)) {
    // Another bit at every member: what is wrong alike in all copies, no comparison shows.
    op.whole.tag ^= std::uint64_t{1} << (rng_.below(64 / n) * n + life.now->self);
    op.corrupt = true;
  }
  prepared(life, op);
}

void World::prepared(Life& life, SimOp& op) {
  EpochMemory& mine = *life.now;
  const bool net = mine.decision.plane == PlaneKind::kNetwork;
  const std::uint64_t digest = !scenario_.digests ? 0 : net ? mix(op.whole.counts, op.whole.tag) | 1 : 1;
  life.counter.prepare(op.id, digest);
  op.prepared = true;
  record(about(life, What::kPrepared, op.id, mine.epoch));
  mine.prepared = life.counter.prepared();
  if (net)
    for (std::size_t i = 0; i < mine.lives.size(); ++i) send(life, i, Frame::kPrepared, op.id, {mine.announced, 0}, digest);
  else
    wake_peers(mine, life);
  mine.announced = op.id;
  report_cut(life);
}

// What can be seen of the peers' words.
void World::observe(Life& life) {
  EpochMemory& mine = *life.now;
  const bool net = mine.decision.plane == PlaneKind::kNetwork;
  for (std::size_t i = 0; i < mine.lives.size(); ++i) {
    OpId theirs = mine.peer_prepared[i];
    if (!net) {
      const EpochMemory* memory = lives_[mine.lives[i]].memory_of(mine.epoch);
      theirs = memory == nullptr ? mine.decision.trim : memory->prepared;
    }
    if (scenario_.digests && net) {  // a digest comes before its `prepared` is observed, and needs mine to compare with
      theirs = std::min(theirs, life.counter.prepared());
      for (OpId k = life.counter.committed() + 1; k <= theirs; ++k) {
        const EpochMemory::Shown& shown = mine.shown[i][k % kSlots];
        if (shown.op == k) life.counter.observe_digest(k, shown.digest);
      }
    }
    if (i != mine.self) life.counter.observe(i, theirs);
  }
}

Value World::result(const SimOp& op, const EpochMemory& memory) const {
  if (memory.decision.plane == PlaneKind::kNetwork) return op.whole;
  const std::size_t n = memory.lives.size();
  Value whole;
  bool have = false;
  for (std::size_t i = 0; i < n; ++i) {
    if (!has_shard(op.id, n, i)) continue;
    const EpochMemory* theirs = lives_[memory.lives[i]].memory_of(memory.epoch);
    const EpochMemory::Slot slot = theirs == nullptr ? EpochMemory::Slot{} : theirs->scratch[op.id % scenario_.slots];
    const Value shard = slot.op == op.id || bug_ == DataBug::kOldResult ? slot.shard : kGarbage;
    if (have && shard != whole) return {kGarbage.counts, mix(shard.tag, whole.tag)};
    whole = shard;
    have = true;
  }
  return whole;
}

void World::settle_committed(Life& life, SimOp& op, const EpochMemory& memory) {
  Record r = about(life, What::kCommitted, op.id, memory.epoch);
  for (const MemberInfo& m : memory.decision.view.members) r.contributors |= std::uint64_t{1} << m.id.replica;
  r.divisor = bug_ == DataBug::kDivisor ? scenario_.members : static_cast<std::uint32_t>(std::popcount(r.contributors));
  r.value = result(op, memory);
  // Digests show what differs. Where a single survivor holds the only copy there is nothing to compare it with.
  r.expected = op.corrupt && op.settled ? r.value : expected(op.id, memory);
  life.state = mix(life.state ^ op.id, mix(r.value.counts, r.value.tag));
  EpochMemory* words = const_cast<EpochMemory*>(&memory);
  words->released = std::max(words->released, op.id);
  record(r);
  wake_peers(memory, life);
  settled(life);
}

void World::settle_failed(Life& life, SimOp& op, Code code) {
  const OpId before = life.counter.prepared();
  life.counter.settle_failed(op.id);
  if (life.counter.prepared() != before) record(about(life, What::kPrepared, op.id, life.counter.epoch()));
  if (life.now) {  // nobody reads anything of it
    life.now->prepared = std::max(life.now->prepared, life.counter.prepared());
    life.now->ready = std::max(life.now->ready, op.id), life.now->placed = std::max(life.now->placed, op.id);
    life.now->released = std::max(life.now->released, op.id);
  }
  Record r = about(life, What::kFailed, op.id, life.counter.epoch());
  r.code = code;
  r.untouched = life.inputs[op.id % kSlots].op == op.id && life.inputs[op.id % kSlots].value == input_of(life, op.id);
  life.state = mix(life.state ^ op.id, static_cast<std::uint64_t>(code));
  record(r);
  settled(life);
}

// The front op is over here: its buffers are the caller's, which writes into them at once.
void World::settled(Life& life) {
  const OpId op = life.queue.front().id;
  life.settled = op;
  life.inputs[op % kSlots].value = kGarbage;
  life.queue.pop_front();
  report_cut(life);
  if (life.now && life.now->decision.plane == PlaneKind::kShared) wake_peers(*life.now, life);
  if (!std::exchange(life.submit_due, true)) push(around(scenario_.think) * life.slow, Ev::kSubmit, life.index);
  life.stuck_since = 0;
}

void World::report_cut(Life& life) {
  const std::optional<OpId> cut = life.counter.cut_reached();
  if (!cut || life.cut_reported_epoch == life.counter.epoch()) return;
  if (life.settled < *cut && !life.queue.empty() && life.queue.front().id <= *cut) return;  // copied out first
  life.cut_reported_epoch = life.counter.epoch();
  member_on(life, CutReached{life.counter.epoch(), *cut});
}

// --- frames between members ---

void World::send(Life& from, std::size_t to, Frame what, OpId op, const Value& value, std::uint64_t digest,
                 HopKey hop) {
  const EpochMemory& memory = *from.now;
  Data d{what, from.index, memory.lives[to], 0, memory.epoch, op, value, digest, hop};
  if (to == memory.self) return receive(from, d);
  d.link = link_[{d.from, d.to}];
  carry(d, around(scenario_.delay));
}

void World::carry(Data d, std::int64_t delay) {
  std::uint32_t slot;
  if (free_data_.empty()) {
    slot = static_cast<std::uint32_t>(data_.size());
    data_.push_back(d);
  } else {
    slot = free_data_.back();
    free_data_.pop_back();
    data_[slot] = d;
  }
  push(delay * clog_ * lives_[d.from].slow, Ev::kData, d.to, slot);
}

void World::arrived(const Event& e) {
  const Data& d = data_[e.b];
  Life& to = lives_[d.to];
  const bool of_messages = d.what >= Frame::kMessage;
  const bool gone = !to.runs() || link_[{d.from, d.to}] != d.link;
  const bool cut = blocked(host_of(lives_[d.from]), host_of(to));
  if (!gone && (cut || now_ < to.paused_until))
    return push(std::max(to.paused_until - now_, around(scenario_.suspicion.ns / 30, of_messages ? message_rng_ : rng_)),
                Ev::kData, e.a, e.b);
  const Data copy = d;
  free_data_.push_back(e.b);
  if (!gone) receive(to, copy);
}

void World::receive(Life& life, const Data& d) {
  const Epoch epoch = life.now ? life.now->epoch : 0;
  if (d.epoch > epoch) return early_[life.index].push_back(d);
  if (d.epoch < epoch && bug_ != DataBug::kNoEpoch) return;
  EpochMemory& mine = *life.now;
  const auto from = std::find(mine.lives.begin(), mine.lives.end(), d.from);
  if (from == mine.lives.end()) return;
  const auto i = static_cast<std::size_t>(from - mine.lives.begin());
  if (d.what >= Frame::kMessage) return message_came(life, d);
  if (d.what == Frame::kPrepared) {
    mine.shown[i][d.op % kSlots] = {d.op, d.value.counts, d.digest};
    for (bool more = true; std::exchange(more, false);)
      for (const EpochMemory::Shown& s : mine.shown[i])
        if (s.op > mine.peer_prepared[i] && s.before <= mine.peer_prepared[i]) mine.peer_prepared[i] = s.op, more = true;
  } else if (EpochMemory::Staged& staged = mine.staged_of(d.op); staged.op == d.op) {
    const std::uint32_t bit = 1u << i;
    if (d.what == Frame::kInput && (staged.inputs & bit) == 0) {
      staged.inputs |= bit;
      staged.fold += d.value;
      if (mine.decision.view.members[i].id.replica == spec(d.op).root) staged.root = d.value;
    } else if (d.what == Frame::kResult && (staged.results & bit) == 0) {
      staged.results |= bit;
      staged.shards[i] = d.value;
    } else if (d.what == Frame::kHop) {
      if (!staged.hops) staged.hops = std::make_shared<Hops>();
      staged.hops->came.emplace(HopKey{static_cast<std::uint32_t>(i), d.hop[1], d.hop[2]}, d.value);
    }
  }
  wake(life, around(200) * life.slow);
}

// A link that carries nothing while its peer is waited for: an accusation.
void World::watch_links(Life& life) {
  if (!is_active(life) || life.now->decision.plane != PlaneKind::kNetwork || life.queue.empty() || life.counter.frozen()) {
    life.stuck_since = 0;
    return;
  }
  if (life.stuck_since == 0) life.stuck_since = now_;
  if (now_ - life.stuck_since < scenario_.suspicion.ns) return;
  for (std::uint32_t peer : life.now->lives) {
    const std::uint32_t there = host_of(lives_[peer]), here = host_of(life);
    if (peer != life.index && (blocked(here, there) || blocked(there, here) || !lives_[peer].runs()))
      member_on(life, PeerSuspected{lives_[peer].inc, SuspectKind::kLink});
    if (!life.runs()) return;
  }
}

}  // namespace regroup::sim

// What goes wrong, and how it ends.
#include <algorithm>

#include "ft/sim/world.h"

namespace regroup::sim {

// The newest process of a member that runs; null: none.
Life* World::living(std::uint32_t replica) {
  auto it = std::find_if(lives_.rbegin(), lives_.rend(), [&](const Life& l) { return l.replica == replica && l.runs(); });
  return it == lives_.rend() ? nullptr : &*it;
}

void World::cut(std::uint32_t from, std::uint32_t to, int by) {
  std::uint16_t& c = cut_[from][to];
  c = static_cast<std::uint16_t>(std::max(0, c + by));
}

void World::cut_off(std::uint32_t replica, int by) {
  for (std::uint32_t other = 0; other <= kMaxMembers; ++other)
    if (other != replica) cut(replica, other, by), cut(other, replica, by);
}

void World::fault(const Fault& f) {
  if (liveness_) return;
  Life* life = living(f.a);
  const auto ends = [&](std::int64_t after, std::uint64_t more = 0) {
    push(after, Ev::kEndFault, static_cast<std::uint32_t>(f.kind), f.a, f.b, more);
  };
  switch (f.kind) {
    case FaultKind::kCrash:
    case FaultKind::kCrashSilent:
      if (life == nullptr) return;
      die(*life, f.kind == FaultKind::kCrashSilent);
      if (rng_.below(4) != 0) push(around(f.lasts), Ev::kSpawn, f.a);
      break;
    case FaultKind::kPause:
      if (life == nullptr) return;
      life->paused_until = now_ + f.lasts;
      break;
    case FaultKind::kSlow:
      if (life == nullptr) return;
      life->slow = 2 + static_cast<std::int64_t>(rng_.below(40));
      ends(f.lasts);
      break;
    case FaultKind::kCutOff:
      cut_off(f.a, 1);
      ends(f.lasts);
      break;
    case FaultKind::kCutHalf: {
      const std::uint64_t half = rng_.next();
      for (std::uint32_t i = 0; i <= kMaxMembers; ++i)
        for (std::uint32_t j = 0; j <= kMaxMembers; ++j)
          if (((half >> i) & 1) != ((half >> j) & 1)) cut(i, j, 1);
      ends(f.lasts, half);
      break;
    }
    case FaultKind::kCutOneWay:
      cut(f.a, f.b, 1);
      ends(f.lasts);
      break;
    case FaultKind::kCutCoordinator:
      if (rng_.below(2) == 0) {
        cut(f.a, kMaxMembers, 1), cut(kMaxMembers, f.a, 1);
        ends(f.lasts, 3);
      } else if (rng_.below(2) == 0) {
        cut(f.a, kMaxMembers, 1);
        ends(f.lasts, 1);
      } else {
        cut(kMaxMembers, f.a, 1);
        ends(f.lasts, 2);
      }
      break;
    case FaultKind::kClog:
      clog_ = 2 + static_cast<std::int64_t>(rng_.below(30));
      ends(f.lasts);
      break;
    case FaultKind::kFlap:
      cut_off(f.a, 1);
      ends(f.lasts / 4 + 1, 6);
      break;
    case FaultKind::kCoordinatorCrash:
    case FaultKind::kCoordinatorAmnesia: {
      const bool amnesia = f.kind == FaultKind::kCoordinatorAmnesia;
      if (!coordinator_ || (amnesia && disks_[0].decisions.empty())) return;
      stop_coordinator();
      push(around(f.lasts / 4 + 1000), Ev::kCoordinator, amnesia ? 1 : 0);
      if (amnesia) push(2 * f.lasts, Ev::kCoordinator, 0);
      if (amnesia && life != nullptr) stranger(*life);
      break;
    }
    case FaultKind::kCoordinatorPause:
      if (!coordinator_) return;
      coordinator_paused_ = now_ + f.lasts;
      break;
    case FaultKind::kLeave:
      if (life == nullptr || life->counter.epoch() == 0 || life->leaves) return;
      life->leaves = true;
      if (!std::exchange(life->submit_due, true)) push(around(scenario_.think), Ev::kSubmit, life->index);
      break;
    case FaultKind::kDuplicate:
      if (life == nullptr) return;
      push(0, Ev::kSpawn, f.a, 1);
      break;
    case FaultKind::kSuspectWrongly: {
      Life* other = living(f.b);
      if (life == nullptr || other == nullptr || life->counter.epoch() == 0) return;
      push(0, Ev::kTell, life->index, other->index, rng_.below(2));
      break;
    }
    case FaultKind::kCancel:
      if (life == nullptr || life->queue.empty()) return;
      member_on(*life, OpRefused{FailedOp{life->queue[rng_.below(life->queue.size())].id, Code::kCancelled, {f.a, 0}, {}}});
      break;
    case FaultKind::kLinkReset: {
      Life* other = living(f.b);
      if (life == nullptr || other == nullptr || !life->now || life->now->decision.plane != PlaneKind::kNetwork) return;
      ++link_[{life->index, other->index}];
      ++link_[{other->index, life->index}];
      for (Life* end : {life, other})
        if (end->counter.epoch() != 0) member_on(*end, ChangeWanted{end->counter.epoch(), false, "link"});
      break;
    }
    case FaultKind::kAskChange:
      if (life == nullptr || life->counter.epoch() == 0) return;
      member_on(*life, ChangeWanted{life->counter.epoch(), false, "asked"});
      break;
    case FaultKind::kLeaveAll:
      if (life == nullptr || life->counter.epoch() == 0) return;
      if (!life->queue.empty() && rng_.below(2) == 0)
        member_on(*life, OpRefused{FailedOp{life->queue.back().id, Code::kCancelled, {f.a, 0}, {}}});
      all_leave();
      break;
    case FaultKind::kHandOver: hand_over_ = true; return;  // counted when it strikes
    case FaultKind::kJoinerAndSource: doom_ = f.b; return;  // counted when it strikes
    case FaultKind::kCount: return;
  }
  ++report_.faults[static_cast<std::size_t>(f.kind)];
  note(std::string("fault ") + name_of(f.kind) + " " + std::to_string(f.a) + " " + std::to_string(f.b));
}

void World::end_fault(const Event& e) {
  if (liveness_) return;  // all has healed
  const auto kind = static_cast<FaultKind>(e.a);
  const std::uint32_t replica = e.b;
  switch (kind) {
    case FaultKind::kSlow:
      for (Life& life : lives_)
        if (life.replica == replica) life.slow = 1;
      break;
    case FaultKind::kCutOff: cut_off(replica, -1); break;
    case FaultKind::kCutHalf:
      for (std::uint32_t i = 0; i <= kMaxMembers; ++i)
        for (std::uint32_t j = 0; j <= kMaxMembers; ++j)
          if (((e.y >> i) & 1) != ((e.y >> j) & 1)) cut(i, j, -1);
      break;
    case FaultKind::kCutOneWay: cut(replica, static_cast<std::uint32_t>(e.x), -1); break;
    case FaultKind::kCutCoordinator:
      if ((e.y & 1) != 0) cut(replica, kMaxMembers, -1);
      if ((e.y & 2) != 0) cut(kMaxMembers, replica, -1);
      break;
    case FaultKind::kClog: clog_ = 1; break;
    case FaultKind::kFlap:
      cut_off(replica, e.y % 2 == 0 ? -1 : 1);
      if (e.y > 1) push(around(scenario_.suspicion.ns / 3), Ev::kEndFault, e.a, replica, e.x, e.y - 1);
      else if (e.y % 2 != 0) cut_off(replica, -1);
      break;
    default: break;
  }
}

void World::all_leave() {
  for (Life& each : lives_)
    if (each.runs() && each.counter.epoch() != 0 && !each.leaves) {
      each.leaves = true;
      member_on(each, LeaveWanted{});
    }
}

// Both are gone at once, and come back at once, if that was drawn.
bool World::doomed(Life& joiner, Life* source) {
  if (liveness_ || !doom_ || source == nullptr || !source->runs() || source->counter.epoch() == 0) return false;
  doom_.reset();
  const std::int64_t back = around(scenario_.suspicion.ns / 4);
  for (Life* each : {&joiner, source}) {
    die(*each, false);
    push(back, Ev::kSpawn, each->replica);
  }
  ++report_.faults[static_cast<std::size_t>(FaultKind::kJoinerAndSource)];
  return true;
}

// Anywhere in a member's work, however unlikely a drawn moment would hit it.
void World::anywhere(Life& life) {
  if (liveness_ || life.counter.epoch() == 0) return;
  if (chance(scenario_.crash_anywhere, 65536)) {
    die(life, rng_.below(4) == 0);
    ++report_.faults[static_cast<std::size_t>(FaultKind::kCrash)];
    push(around(scenario_.suspicion.ns / 4), Ev::kSpawn, life.replica);
  } else if (chance(scenario_.pause_anywhere, 65536)) {
    life.paused_until = now_ + around(scenario_.suspicion.ns);
    ++report_.faults[static_cast<std::size_t>(FaultKind::kPause)];
  }
}

}  // namespace regroup::sim

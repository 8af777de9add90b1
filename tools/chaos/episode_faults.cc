#include <csignal>

#include "base/clock.h"
#include "tools/chaos/episode.h"

namespace regroup::chaos {
namespace {

constexpr Duration kPointBound = Duration::from_s(15);
constexpr Duration kFlap = Duration::from_ms(150);
constexpr const char* kOpPoints[] = {"after_submit",   "after_first_chunk", "after_placed",
                                     "after_prepared", "before_copy_out",   "after_commit"};

}  // namespace

Duration Episode::drawn(int low_ms, int high_ms) {
  const auto span_us = static_cast<std::uint64_t>(high_ms - low_ms) * 1000;
  return Duration::from_ms(low_ms) + Duration::from_us(static_cast<std::int64_t>(rng_.below(span_us + 1)));
}

int Episode::drawn_rank(bool may_be_spared) {
  const int low = may_be_spared ? 0 : setup_.arguments.spared;
  return low + static_cast<int>(rng_.below(static_cast<std::uint64_t>(setup_.arguments.members - low)));
}

// Who comes back submits its first op before it is in the view, and is let in for that: if it stopped there, nobody would miss it.
std::string Episode::drawn_point() {
  const std::string point = kOpPoints[rng_.below(std::size(kOpPoints))];
  return point + "#" + std::to_string((point == "after_submit" ? 2 : 1) + rng_.below(20));
}

Status Episode::fault(FaultKind kind) {
  Status s;
  switch (kind) {
    case FaultKind::kKill: s = kill(); break;
    case FaultKind::kViewChangeKill: s = view_change_kill(); break;
    case FaultKind::kStop: s = stop(); break;
    case FaultKind::kPartition: s = partition(); break;
    case FaultKind::kCoordinator:
      s = coordinator();
      // Until all have found it again, the next fault would be two at once.
      if (s.ok()) s = wait_full();
      if (s.ok()) s = wait_until("members connected to the new coordinator", hang_bound(), [this] { return fleet_.coordinated(); });
      break;
    case FaultKind::kDuplicate: s = duplicate(); break;
    case FaultKind::kJoin: s = join(); break;
    case FaultKind::kCount: break;
  }
  if (s.ok()) return s;
  return {s.code(), std::string("fault ") + name_of(kind) + ": " + s.error().detail};
}

Status Episode::restart(int rank, const std::string& points) {
  auto slot = fleet_.start_worker(rank, points);
  if (!slot.ok()) return slot.error();
  fleet_.name(rank, *slot);
  return {};
}

// The rank's process is killed (a fault of its own) and comes back with a protocol point armed. When it was started again.
Result<Instant> Episode::stop_at(int rank, const std::string& point, const std::function<Status()>& meanwhile) {
  excused_ |= bit(rank);
  how_ = "rank " + std::to_string(rank) + ", to be armed";
  const Instant killed = fleet_.kill(fleet_.slot_of(rank));
  ++tally_.faults["kill"];
  if (Status s = measure("kill", bit(rank), killed); !s.ok()) return s.error();
  const Instant back = now();
  if (Status s = restart(rank, point + "=stop"); !s.ok()) return s.error();
  if (meanwhile) {
    if (Status s = wait_full(); !s.ok()) return s.error();
    if (Status s = meanwhile(); !s.ok()) return s.error();
  }
  Status s = wait_until("stop of rank " + std::to_string(rank) + " at " + point, kPointBound,
                        [&] { return fleet_.stopped(fleet_.slot_of(rank)); });
  if (s.ok()) {
    how_ = "rank " + std::to_string(rank) + " at " + point;
    ++tally_.points[point.substr(0, point.find('#'))];
    return back;
  }
  if (s.code() != Code::kTimeout) return s.error();
  ++tally_.unfired;
  return back;
}

Status Episode::kill() {
  const int victim = drawn_rank();
  Instant since{0};
  if (rng_.below(3) == 0) {  // at a point of the protocol: it stops there, and is killed where it stands
    const std::string point = drawn_point();
    auto stopped = stop_at(victim, point);
    if (!stopped.ok()) return stopped.error();
    since = *stopped;
  } else {
    excused_ = bit(victim);
    how_ = "rank " + std::to_string(victim);
  }
  const Instant at = fleet_.kill(fleet_.slot_of(victim));
  ++tally_.faults["kill"];
  if (Status s = measure("kill", bit(victim), at, since.ns > 0 ? since : at); !s.ok()) return s;
  if (Status s = wait_for(drawn(0, 100)); !s.ok()) return s;
  return restart(victim);
}

Status Episode::view_change_kill() {
  const int first = drawn_rank();
  int second = drawn_rank();
  while (second == first) second = drawn_rank();
  excused_ = bit(first) | bit(second);
  how_ = "ranks " + std::to_string(first) + ", " + std::to_string(second);
  Instant first_at{0};
  const auto kill_first = [&]() -> Status {
    first_at = fleet_.kill(fleet_.slot_of(first));
    ++tally_.faults["kill"];
    return {};
  };
  if (rng_.below(2) == 0) {
    auto stopped = stop_at(second, rng_.below(2) == 0 ? "wedged#1" : "installed#2", kill_first);
    if (!stopped.ok()) return stopped.error();
  } else {
    if (Status s = kill_first(); !s.ok()) return s;
    if (Status s = wait_for(drawn(0, 12)); !s.ok()) return s;
  }
  const Instant at = fleet_.kill(fleet_.slot_of(second));
  const Bits both = bit(first) | bit(second);
  Instant view{0}, commit{0};
  Status s = wait_until("view and commit without two victims at all survivors", hang_bound(), [&] {
    view = last_view(both, both, first_at), commit = last_commit(both, first_at, epoch_before(both, first_at));
    return view.ns > 0 && commit.ns > 0;
  });
  if (!s.ok()) return s;
  // Within the first one's view change, unless all survivors had installed the view without it by then.
  const char* kind = last_view(bit(first), both, first_at) > at ? "view_change_kill" : "kill";
  ++tally_.faults[kind];
  recovered(kind, view - at, commit - at);
  for (const int rank : {first, second})
    if (Status s = restart(rank); !s.ok()) return s;
  return {};
}

Status Episode::stop() {
  const int victim = drawn_rank(true);
  const std::uint64_t way = rng_.below(4);
  excused_ = bit(victim);
  Instant since{0};
  if (way == 0 && victim >= setup_.arguments.spared) {
    const std::string point = drawn_point();
    auto stopped = stop_at(victim, point);
    if (!stopped.ok()) return stopped.error();
    since = *stopped;
  }
  how_ = "rank " + std::to_string(victim);
  const bool evicts = way != 1;
  const Duration length = evicts ? drawn(1300, 3000) : drawn(50, 700);
  const Instant at = fleet_.signal(fleet_.slot_of(victim), SIGSTOP);
  ++tally_.faults["stop"];
  if (evicts)
    if (Status s = measure("stop", bit(victim), at, since.ns > 0 ? since : at); !s.ok()) return s;
  if (Status s = wait_for(std::max(at + length - now(), Duration{0})); !s.ok()) return s;
  const Instant back = fleet_.signal(fleet_.slot_of(victim), SIGCONT);
  return evicts ? Status{} : measure_commit("short_stop", back);
}

Status Episode::partition() {
  Network& network = *setup_.network;
  const auto kind = static_cast<CutKind>(rng_.below(static_cast<std::uint64_t>(CutKind::kCount)));
  const int host = kind == CutKind::kDelay ? network.delayed_host() : static_cast<int>(rng_.below(static_cast<std::uint64_t>(network.hosts())));
  Bits victims = 0;
  for (int rank = 0; rank < setup_.arguments.members; ++rank)
    if (fleet_.host_of(rank) == host) victims |= bit(rank);
  excused_ = victims;
  const bool clean = kind <= CutKind::kPeers;  // nothing passes: the host must go
  const Duration length = kind == CutKind::kReset ? Duration::from_ms(300) : drawn(1500, 3000);
  how_ = std::string("cut ") + name_of(kind) + " of host " + std::to_string(host);
  const Instant at = now();
  if (Status s = network.cut(host, kind, drawn(50, 1500)); !s.ok()) return s;
  ++tally_.faults["partition"];
  ++tally_.partitions[name_of(kind)];
  if (clean)
    if (Status s = measure("partition", victims, at); !s.ok()) return {s.code(), std::string(name_of(kind)) + ": " + s.error().detail};
  bool cut = true;
  while (now() < at + length) {
    if (Status s = wait_for(std::min(kFlap, at + length - now())); !s.ok()) return s;
    if (kind != CutKind::kFlap) continue;
    cut = !cut;
    if (Status s = cut ? network.cut(host, kind) : network.heal(host); !s.ok()) return s;
  }
  if (Status s = network.heal(host); !s.ok()) return s;
  const std::string name = std::string("partition_") + name_of(kind);
  if (kind == CutKind::kReset) return measure_commit(name, at);
  return clean ? Status{} : measure_stall(name, victims, at);
}

Status Episode::coordinator() {
  ++tally_.faults["coordinator"];
  how_ = "coordinator";
  const std::uint64_t way = rng_.below(4);
  if (way == 0) {
    const Instant at = fleet_.signal_coordinator(SIGSTOP);
    if (Status s = wait_for(drawn(300, 2500)); !s.ok()) return s;
    fleet_.signal_coordinator(SIGCONT);
    return measure_commit("coordinator_alone", at);
  }
  const Instant at = fleet_.kill_coordinator();
  if (way == 1) {  // nobody is there to decide when a member dies
    const int victim = drawn_rank();
    excused_ = bit(victim);
    if (Status s = wait_for(drawn(0, 20)); !s.ok()) return s;
    const Instant killed = fleet_.kill(fleet_.slot_of(victim));
    ++tally_.faults["kill"];
    if (Status s = wait_for(drawn(0, 500)); !s.ok()) return s;
    if (Status s = fleet_.start_coordinator(); !s.ok()) return s;
    if (Status s = measure("coordinator", bit(victim), killed); !s.ok()) return s;
    return restart(victim);
  }
  if (Status s = wait_for(drawn(0, 500)); !s.ok()) return s;
  if (Status s = fleet_.start_coordinator(); !s.ok()) return s;
  return measure_commit("coordinator_alone", at);
}

Status Episode::duplicate() {
  const int rank = drawn_rank();
  auto second = fleet_.start_worker(rank);
  if (!second.ok()) return second.error();
  ++tally_.faults["duplicate"];
  how_ = "second process of rank " + std::to_string(rank);
  if (Status s = wait_for(drawn(100, 800)); !s.ok()) return s;
  if (rng_.below(2) == 0)  // the newer one goes: nobody may notice
    return measure_commit("duplicate_leaves", fleet_.kill(*second));
  excused_ = bit(rank);
  const Instant at = fleet_.kill(fleet_.slot_of(rank));
  fleet_.name(rank, *second);  // it takes over
  return measure("duplicate", bit(rank), at);
}

// Ranks are lost and come back, two of them at once in half of the cases; while they join, somebody dies.
Status Episode::join() {
  const int first = drawn_rank();
  int second = drawn_rank(), member = drawn_rank();
  while (second == first) second = drawn_rank();
  const bool two = rng_.below(2) == 0 && setup_.arguments.members - setup_.arguments.spared > 3;
  while (member == first || member == second) member = drawn_rank();
  const Bits joiners = bit(first) | (two ? bit(second) : 0);
  excused_ = joiners;
  how_ = "ranks " + std::to_string(first) + (two ? ", " + std::to_string(second) : "") + ", to join";
  const Instant lost = fleet_.kill(fleet_.slot_of(first));
  if (two) fleet_.kill(fleet_.slot_of(second));
  tally_.faults["kill"] += two ? 2 : 1;
  if (Status s = measure("kill", joiners, lost); !s.ok()) return s;
  if (Status s = restart(first); !s.ok()) return s;
  if (two)
    if (Status s = restart(second); !s.ok()) return s;
  if (Status s = wait_for(drawn(20, 400)); !s.ok()) return s;  // a process is some 20 ms old when it joins
  const std::uint64_t way = rng_.below(3);  // who dies: a joiner, a member, both
  excused_ |= way != 0 ? bit(member) : 0;
  how_ += way == 0 ? ", one of them dies" : way == 1 ? ", and a member dies" : ", one dies and a member with it";
  ++tally_.faults["join"];
  const Instant at = now();
  if (way != 0) fleet_.kill(fleet_.slot_of(member));
  if (way != 1) fleet_.kill(fleet_.slot_of(first));
  const Bits dead = (way != 0 ? bit(member) : 0) | (way != 1 ? bit(first) : 0);
  if (way != 0)
    if (Status s = wait_until("commits without the dead", hang_bound(), [&] { return last_commit(dead | joiners, at, epoch_before(bit(member), at)).ns > 0; });
        !s.ok())
      return s;
  if (way != 1)
    if (Status s = restart(first); !s.ok()) return s;
  return way != 0 ? restart(member) : Status{};
}

}  // namespace regroup::chaos

// Messages of the target `core` that no honest member or coordinator has sent, with small numbers, so that they fit.
#include "ft/driver/codec.h"
#include "tests/fuzz/core_world.h"

namespace regroup::fuzz {

Incarnation World::any_inc() { return {1, 1 + source_.below(static_cast<std::uint32_t>(lives_.size()) + 1)}; }

MemberInfo World::any_info() {
  const std::uint8_t how = source_.u8();
  MemberInfo info;
  info.inc = any_inc();
  info.id = {(how & 1) != 0 ? source_.below(4) : static_cast<std::uint32_t>(info.inc.lo - 1) % 3, 0};
  info.locality = (how & 2) != 0 ? source_.below(3) : locality_;
  return info;
}

FailedOp World::any_failed() {
  FailedOp f;
  f.op = source_.number();
  f.code = static_cast<Code>(source_.below(14));
  f.redone = source_.flag();
  return f;
}

Report World::any_report() {
  Report r;
  r.epoch = source_.number(), r.prepared = source_.number(), r.committed = source_.number(), r.high = source_.number();
  for (std::uint32_t i = 0, n = source_.below(4); i < n; ++i) r.digests.push_back(source_.below(3));
  return r;
}

Decision World::any_decision() {
  const std::uint8_t how = source_.u8();
  Decision d;
  if ((how & 1) != 0 && !durable_.empty())
    d = durable_[source_.u8() % durable_.size()];
  else
    d.view.log = kLog;
  if ((how & 2) != 0) d.view.log = source_.below(3) + kLog - 1;
  if ((how & 4) != 0) d.view.epoch = source_.number();
  if ((how & 8) != 0) d.prev = source_.number();
  if ((how & 16) != 0) d.trim = source_.number();
  if ((how & 32) != 0) d.high = source_.number();
  if ((how & 64) != 0)
    for (std::uint32_t i = 0, n = source_.below(4); i < n; ++i) d.view.members.push_back(any_info());
  if ((how & 128) != 0) {
    for (std::uint32_t i = 0, n = source_.below(3); i < n; ++i) d.failed.push_back(any_failed());
    for (std::uint32_t i = 0, n = source_.below(5); i < n; ++i) d.joined.push_back(any_inc());
    const std::uint8_t cut = source_.u8() & 3;
    d.planned = (cut & 1) != 0, d.founding = cut == 3;
  }
  return d;
}

ToMember World::any_to_member() {
  switch (source_.below(7)) {
    case 0: return Welcome{kLog - 1 + source_.below(3), source_.number()};
    case 1: return Refuse{static_cast<Code>(source_.below(14)), "no"};
    case 2: return Wedge{source_.number(), any_decision()};
    case 3: return Notice{source_.number(), source_.number()};
    case 4: return Fetch{source_.number(), kLog - 1 + source_.below(3), source_.number(), any_info()};
    case 5: return Install{any_decision()};
    default: return Evicted{kLog - 1 + source_.below(3), source_.number()};
  }
}

ToCoordinator World::any_to_coordinator(const Life& from) {
  switch (source_.below(10)) {
    case 0: {
      Hello h{"g",
              source_.below(2) * kLog,
              any_info(),
              source_.below(3),
              "",
              source_.below(4),
              source_.number(),
              source_.flag(),
              source_.flag() ? Readiness::kHold : Readiness::kNo,
              source_.number()};
      h.self.inc = from.inc();  // the server sees to it
      return h;
    }
    case 1: return Heartbeat{source_.number(), source_.number()};
    case 2: return Ready{source_.flag() ? Readiness::kHold : Readiness::kFounder, source_.number()};
    case 3: return Wedged{source_.number(), any_report()};
    case 4: return CutDone{source_.number(), source_.number(), source_.number()};
    case 5: return Level{coordinator_life_ << 32 | source_.u8(), source_.number(), source_.flag()};
    case 6: return Suspect{any_inc(), source_.flag() ? SuspectKind::kLink : SuspectKind::kDead};
    case 7: return FailOp{source_.number(), any_failed()};
    case 8: return AskChange{source_.number(), source_.flag(), source_.text(8)};
    default: return Leave{};
  }
}

void World::forge(Life& life, std::uint8_t what) {
  switch (what % 4) {
    case 0: {
      const auto message = decode_to_member(encode(any_to_member()));
      RG_CHECK(message.ok());
      return member_on(life, FromCoordinator{*message});
    }
    case 1:
    case 2: {
      const auto message = decode_to_coordinator(encode(any_to_coordinator(life)));
      RG_CHECK(message.ok());
      if (std::holds_alternative<Hello>(*message)) life.bound = true;
      if (life.bound) coordinator_on(FromMember{life.inc(), *message});
      return;
    }
    case 3: {  // answers that nobody asked for
      switch (source_.below(6)) {
        case 0: return member_on(life, LeaveWanted{});
        case 1: return member_on(life, CutReached{source_.number(), source_.number()});
        case 2:
          return member_on(life,
                           LevelReached{coordinator_life_ << 32 | source_.u8(), source_.number(), source_.flag()});
        case 3: return member_on(life, OpRefused{any_failed()});
        case 4: return member_on(life, ChangeWanted{source_.number(), source_.flag(), source_.text(8)});
        default: return member_on(life, Parked{});
      }
    }
  }
}

}  // namespace regroup::fuzz

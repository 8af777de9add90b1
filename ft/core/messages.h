// Control messages between members and the coordinator. Values; ft/driver encodes them, the explorer and the simulator
// pass them as they are. Everything may be lost, delayed, duplicated: every handler is idempotent.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "ft/core/view.h"

namespace regroup {

// A member's frozen state of one epoch. After its first report nothing raises `prepared` in that epoch.
struct Report {
  Epoch epoch = 0;
  OpId prepared = 0;   // highest op whose whole result stands in memory that stays mine
  OpId committed = 0;  // highest op settled here (committed, or failed by a decision)
  OpId high = 0;       // highest op submitted here
  // Of the results of committed + 1 .. prepared, where the plan asks for them; fewer, or 0: count as equal.
  std::vector<std::uint64_t> digests = {};
  bool operator==(const Report&) const = default;
};

// What an observer is ready for. Its user thread waits inside the library, so its state may be overwritten.
enum class Readiness : std::uint8_t {
  kNo = 0,
  kFounder = 1,  // founding the group; where there is a view it catches up first (runtime/state)
  kHold = 2,     // promotion; it takes its whole state while the members wait
  kLevel = 3,    // promotion; it has caught up and lacks the last results at most
};

// --- member to coordinator ---
struct Hello {  // first message of every connection
  std::string group;
  LogId log = 0;            // 0: not known yet
  MemberInfo self;
  std::uint64_t config_hash = 0;
  std::string config;       // readable, for the refusal's text and for status
  std::uint32_t world_size = 0;
  Epoch installed = 0;      // 0: observer
  bool wedged = false;      // frozen in `installed`, waiting for a decision
  Readiness ready = Readiness::kNo;  // of an observer
  std::uint64_t ready_nth = 0;       // see Ready
  bool operator==(const Hello&) const = default;
};
struct Heartbeat {  // liveness and, for status, progress
  Epoch epoch = 0;
  OpId committed = 0;
  bool operator==(const Heartbeat&) const = default;
};
struct Ready {  // observer; the last one said counts, not the last one heard
  Readiness how = Readiness::kHold;
  std::uint64_t nth = 0;  // counts what this incarnation said
  bool operator==(const Ready&) const = default;
};
struct Wedged {
  std::uint64_t round = 0;
  Report report;
  bool operator==(const Wedged&) const = default;
};
struct CutDone {  // planned change: I have committed the mark `op` and prepare nothing behind it
  Epoch epoch = 0;
  std::uint64_t plan = 0;
  OpId op = 0;
  bool operator==(const CutDone&) const = default;
};
struct Level {  // observer: I hold the state as of `op`
  std::uint64_t plan = 0;
  OpId op = 0;
  bool ok = true;  // false: the transfer failed (source lost, digest differs); stay observer
  bool operator==(const Level&) const = default;
};
enum class SuspectKind : std::uint8_t { kDead = 0, kLink = 1 };  // kDead is certain (death word, pidfd); kLink accuses
struct Suspect {
  Incarnation who;
  SuspectKind kind = SuspectKind::kDead;
  bool operator==(const Suspect&) const = default;
};
struct FailOp {  // asks for a decision that fails `op` at every member
  Epoch epoch = 0;
  FailedOp what;
  bool operator==(const FailOp&) const = default;
};
struct AskChange {  // asks for a view change with the same members: link reset, memory that cannot be mapped, digests differ
  Epoch epoch = 0;
  bool ban_shared = false;
  std::string reason;
  bool operator==(const AskChange&) const = default;
};
struct Leave {
  bool operator==(const Leave&) const = default;
};

// --- coordinator to member ---
struct Welcome {
  LogId log = 0;
  Epoch epoch = 0;  // of the last decision; 0: none yet
  // To an observer: the members of that view, from whom it may catch up. Told again with every view to who does.
  std::vector<MemberInfo> members = {};
  bool operator==(const Welcome&) const = default;
};
struct Refuse {
  Code code = Code::kRefused;
  std::string detail;
  bool operator==(const Refuse&) const = default;
};
struct Wedge {
  std::uint64_t round = 0;
  Decision made;  // the decision that made the epoch to wedge; who has not installed it does so first
  bool operator==(const Wedge&) const = default;
};
struct Notice {  // planned change: cut at the first mark >= your prepared
  Epoch epoch = 0;
  std::uint64_t plan = 0;
  bool operator==(const Notice&) const = default;
};
// Plans of one life of the coordinator count up, and no life makes so many; each begins anywhere.
inline constexpr std::uint64_t kPlansOfALife = 1ull << 32;
struct Fetch {  // to an observer: take the state as of `op` from `source`
  std::uint64_t plan = 0;
  LogId log = 0;
  OpId op = 0;
  MemberInfo source;
  bool operator==(const Fetch&) const = default;
};
struct Install {
  Decision decision;
  bool operator==(const Install&) const = default;
};
struct Evicted {  // the view `epoch` went on without you
  LogId log = 0;
  Epoch epoch = 0;
  bool operator==(const Evicted&) const = default;
};

using ToCoordinator =
    std::variant<Hello, Heartbeat, Ready, Wedged, CutDone, Level, Suspect, FailOp, AskChange, Leave>;
using ToMember = std::variant<Welcome, Refuse, Wedge, Notice, Fetch, Install, Evicted>;

}  // namespace regroup

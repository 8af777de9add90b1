// Scenario: everything that a seed decides before its run begins: the group, its program of ops, the machine's and the
// network's speed, and which faults come when. The fault mix itself is drawn (swarm testing: some runs have no fault of a
// kind, some almost nothing else), so rare combinations come up as often as common ones. A pure function of the seed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "ft/core/view.h"
#include "runtime/algo/route.h"

namespace regroup::sim {

inline constexpr std::size_t kMaxMembers = 16;  // four bits each in Value::counts

enum class FaultKind : std::uint8_t {
  kCrash,            // a member's process dies; most come back as a new incarnation
  kCrashSilent,      // its whole host dies: no connection is closed
  kPause,            // SIGSTOP, then SIGCONT
  kSlow,             // a member takes many times as long for everything
  kCutOff,           // a member is cut off from all others and from the coordinator
  kCutHalf,          // the group falls into two parts that do not reach each other
  kCutOneWay,        // what one host sends to another stays on the way
  kCutCoordinator,   // a member does not reach the coordinator
  kClog,             // everything takes long on the way
  kFlap,             // cut off and back, again and again
  kCoordinatorCrash,
  kCoordinatorPause,
  kCoordinatorAmnesia,  // it comes back with an empty disk and a new log, later with its own
  kLeave,
  kDuplicate,        // a second process for a member whose first one lives
  kSuspectWrongly,   // somebody accuses a living member
  kCancel,           // somebody asks for a decision that fails an op
  kLinkReset,        // a data link breaks with what is on it
  kAskChange,        // a view change for no reason
  kLeaveAll,         // all leave with ops under way, and maybe a request to fail one; a new world comes behind them
  kHandOver,         // all leave as the state is being handed over to a joiner, which goes on alone
  kJoinerAndSource,  // an observer that catches up, or is being handed over to, dies together with a member that gives it the state
  kCount
};
inline constexpr std::size_t kFaultKinds = static_cast<std::size_t>(FaultKind::kCount);
[[nodiscard]] const char* name_of(FaultKind kind);

struct Fault {
  std::int64_t at = 0;        // ns of virtual time
  FaultKind kind = FaultKind::kCrash;
  std::uint32_t a = 0, b = 0;  // replicas, where the kind needs them
  std::int64_t lasts = 0;
};

enum class Kind : std::uint8_t { kAllReduce, kBroadcast, kAllGather, kBarrier };
struct OpSpec {
  Kind kind = Kind::kAllReduce;
  std::uint32_t count = 0;  // elements
  std::uint32_t root = 0;   // replica
  bool mark = false;
  algo::Form form = algo::Form::kDirect;  // over a network, of an all-reduce: what its plan is
  [[nodiscard]] bool shape() const { return kind == Kind::kAllGather; }
};

struct Scenario {
  std::uint64_t seed = 0;
  std::uint32_t members = 3;
  PlaneKind plane = PlaneKind::kShared;
  std::vector<OpSpec> ops;  // [op - 1]: the program of every member
  OpId window = 2, slots = 2;  // ops in flight; scratch slots of a member
  bool digests = false;     // `prepared` carries one; then a member's copy of a result may be corrupt
  std::uint64_t messages = 0;  // in each direction of a pair that has any; 0: no messages in this run
  std::int64_t message_think = 0;  // ns between two of a direction
  bool commit_when_frozen = false;
  std::int64_t think = 0, delay = 0, sync = 0;  // ns: between ops, of a message (mean), of a write to the log
  bool follow = false;      // who comes late catches up as an observer; else it takes its state while the members wait
  Duration suspicion, wedge_deadline, level_deadline;
  // Of control messages, in 1/1024; of any event of a member, in 1/65536.
  std::uint32_t lose = 0, repeat = 0, overtake = 0, crash_anywhere = 0, pause_anywhere = 0, corrupt = 0;
  std::int64_t faults_end = 0;
  std::vector<Fault> faults;
};

// members 0: drawn from 3 to 16.
[[nodiscard]] Scenario draw_scenario(std::uint64_t seed, std::uint32_t members, std::uint32_t steps);

}  // namespace regroup::sim

// What one exploration covers, and which wrong rule, if any, it follows instead of the protocol.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"

namespace regroup::model {

inline constexpr int kMaxSlots = 4;  // members and a joiner

enum class Rule : std::uint8_t {
  kNone,
  kCommitLocal,        // commit on local completion
  kCommitMajority,     // commit when a majority is prepared
  kCommitUnsuspected,  // commit when all whom I do not suspect are prepared
  kWedgedPrepares,     // a wedged member still prepares
  kCachedPrepared,     // the view change trusts cached `prepared`, without a wedge round
  kOwnShard,           // prepared on one's own shard, trim over survivors
  kTrimMax,            // trim by OR: the highest that any survivor prepared
  kSelfAbort,          // a prepared member aborts by itself on timeout
  kNoEpoch,            // frames and words without an epoch
  kSlotReuse,          // slot of scratch reused at commit
  kOldScratch,         // scratch of an ended epoch recycled
  kReadBuffer,         // a read after commit from a caller's buffer
  kBufferReturned,     // a buffer returned without a decision or withdrawal
  kEarlyCut,           // a planned cut reported before its mark is committed
  kLateFill,           // fill after the report
  kReduceAbsent,       // a survivor reduces an absent member's shard in its place
  kBlindTrim,          // trim blind to digests
  kNoWithdrawal,       // an output given as scratch handed back after INSTALL without withdrawal
};

// kShm: shards stand in peers' segments. kNet: whole results are held. kOut: shards stand in the outputs that the
// callers gave as scratch, and are pulled before `prepared` is raised.
enum class PlaneModel : std::uint8_t { kShm, kNet, kOut };

// Failures, asked changes: each is a bit, so that a run can choose.
enum Fault : unsigned {
  kCrash = 1,
  kSuspect = 2,
  kSilence = 4,
  kSlow = 8,
  kBreak = 16,
  kRestart = 32,
  kWithdraw = 64,  // a member gives up without a decision: kUnavailable
  kLose = 128,     // a message is lost; the connection breaks, but later
  kLate = 256,     // a message is overtaken by those behind it
  kRepeat = 512,   // a message arrives a second time, behind those behind it
  kStray = 1024,   // a coordinator with another log speaks to a member
  kAllFaults = 2047,
  kCorrupt = 2048  // a member's result is not what it should be; only where digests are asked for
};
enum Ask : unsigned { kAskChange = 1, kAskFail = 2, kAskLeave = 4, kAllAsks = 7 };

struct Bounds {
  int members = 3;
  int views = 1;  // changes that somebody asks for; failures cause theirs on top
  int failures = 1;
  int ops = 2;
  int window = 1;  // ops in flight
  bool joiner = false;
  bool returning = false;    // the joiner is a new incarnation of member 0
  bool follow = false;       // the joiner catches up before it is promoted
  bool formation = false;    // from the members' first hello; else from the installed first view
  bool lazy_submit = false;  // submitting is a step of its own; else as soon as the window allows
  bool digests = false;      // prepared carries one
  bool shape = false;        // the last op's shape is the membership
  int step = 1;              // every step-th op is a mark
  PlaneModel plane = PlaneModel::kShm;
  unsigned faults = kAllFaults;
  unsigned asks = kAskChange;
  Rule rule = Rule::kNone;
  bool symmetry = true;  // states that differ in names alone are one

  [[nodiscard]] int slots() const { return members + (joiner ? 1 : 0); }
  [[nodiscard]] bool mark(OpId op) const { return op % static_cast<OpId>(step) == 0; }
  [[nodiscard]] bool shape_op(OpId op) const { return shape && op == static_cast<OpId>(ops); }
  // Shared memory: one slot, whatever the window. Network: what was sent is a copy, and stays. An output for each op in
  // flight.
  [[nodiscard]] int scratch_slots() const {
    return plane == PlaneModel::kShm ? 1 : plane == PlaneModel::kNet ? 4 : window;
  }
  [[nodiscard]] bool holds_results() const { return plane != PlaneModel::kShm; }
};

// A wrong rule, and the least that it needs to show.
struct RuleInfo {
  Rule rule;
  std::string_view name;
  std::string_view what;
  unsigned faults = 0;
  PlaneModel plane = PlaneModel::kShm;
  int window = 1;
  bool joiner = false;
  int step = 1;
  bool digests = false;
};
const std::vector<RuleInfo>& rules();

}  // namespace regroup::model

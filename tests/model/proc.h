// Proc: one member's process in the model: the production Member and CommitCounter, and a model of what lies around
// them (engine, caller's buffers, pages that peers read). Every step of it is a pure function of the Proc and an Event,
// so the world computes each once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ft/core/commit_counter.h"
#include "ft/core/member.h"
#include "tests/model/cells.h"

namespace regroup::model {

// The steps of a member. `arg` carries what was read from peers.
enum class Do : std::uint8_t {
  kHear,        // the next message from the coordinator; arg: its number
  kConnect,     // a new connection stands
  kFreeze,      // the engine answers FreezeData
  kSubmit,      // the caller submits the next op
  kSettle,      // the next op was failed by a decision
  kPlace,       // reduces its shard from everybody's input; arg: the cell
  kPrepare,     // raises prepared; arg: network: the shards that it holds, 16 bits each
  kPrepareOdd,  // the same, and the result is not what it should be
  kCommit,      // looks at the words, commits the next op if the rule allows it; arg: who is seen to have prepared it,
                // and behind that whose digest of it is odd
  kCopyOut,     // copies the next committed result to the caller's buffer; arg: 1: the result is whole
  kCaughtUp,    // joiner: lacks the last results at most
  kFetched,     // joiner: arg: 0 failed; else 1 + the source's slot (the world hands over its history)
  kSuspect,     // arg: slot: believes that peer dead
  kAskChange,   // digests differ, a link is to be reset, ...
  kAskFail,     // cancels the op at hand
  kAskLeave,
  kRefuse,    // the next op's shape is that of an older view than this: asks for a decision that fails it
  kWithdraw,  // gives up without a decision: raises withdrawn, and its caller has the buffers back
  kStray,     // hears a coordinator with another log; arg: the number of the message
  kCrash,
  kAbort,         // wrong rule: gives up the op at hand by itself
  kReturnBuffer,  // wrong rule: gives the buffer back and stays
  kLoseFrames,    // network, of a dead member: what slot `arg & 3` has not taken yet is lost
};

struct Proc {
  Member member;
  CommitCounter counter;
  int slot = 0;
  bool alive = true;
  bool over = false;  // this incarnation was told that it is over (evicted, left)

  // --- engine ---
  std::uint8_t freeze_asked = 0;  // epoch of an unanswered FreezeData
  std::uint8_t reported = 0;      // highest epoch that was frozen and reported
  bool cut_posted = false;
  std::uint8_t copied = 0;       // ops that are over for the caller
  bool follows = false;          // joiner: knows whom to catch up from
  std::uint8_t founded = 0;      // entered a group founded anew behind this op: what came before is not its history
  std::uint8_t shape_epoch = 0;  // in which the shape op was submitted
  std::optional<Fetch> fetch;
  std::uint8_t suspects = 0;  // slots that this member believes dead (a wrong rule acts on it)
  std::vector<Outcome> outcomes;
  std::array<Cell, kMaxScratch> buffers{};                         // caller's, by op % window, in place
  std::array<std::array<Cell, kMaxSlots>, kMaxScratch> staging{};  // network: whole results, by op % scratch slots
  std::vector<Page> pages;                                         // by epoch

  explicit Proc(Member m) : member(std::move(m)) {}
  [[nodiscard]] bool running() const { return alive && !over; }
  [[nodiscard]] bool installed() const { return counter.epoch() != 0; }
  [[nodiscard]] const Page& page() const { return pages[counter.epoch()]; }
  [[nodiscard]] Page& page() { return pages[counter.epoch()]; }
  void put(Bytes& out) const;
};

struct Step {
  std::vector<ToCoordinator> said;
  bool installs = false;  // entered a new epoch
  std::string violation;  // of a guarantee, seen in this step alone
};

// Does `what` and says what came of it. Requires that the step is possible (see plane.h, world.cc).
Step take_step(Proc& p, const Bounds& bounds, Do what, std::uint64_t arg, const ToMember* message, const Proc* source);

// The slots of a view.
unsigned mask_of(const View& view);
int slot_of(const Incarnation& inc);
Incarnation incarnation_of(int slot);

}  // namespace regroup::model

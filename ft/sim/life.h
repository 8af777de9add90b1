// Life: one incarnation of a member in the simulated world: the production objects of ft/core, and a symbolic data plane
// around them. Plain data; World moves it.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "ft/core/commit_counter.h"
#include "ft/core/member.h"
#include "ft/core/pair_counter.h"
#include "ft/sim/history.h"
#include "ft/sim/scenario.h"
#include "runtime/algo/route.h"

namespace regroup::sim {

inline constexpr std::size_t kSlots = 8;  // more than any window

// A cell of a hop: from whom (index in the view), which of its hops to me, which cell of that.
using HopKey = std::array<std::uint32_t, 3>;

// One op that is carried out by an algo::Route, in cells of symbols.
struct Hops {
  bool begun = false;
  algo::Route route;
  std::size_t cell_bytes = 1;
  std::vector<Value> output, scratch;
  std::vector<bool> made, sent;    // takes, sends
  std::map<HopKey, Value> came;
};

// What a member keeps of one epoch. Shared memory: peers read it, also when its owner is dead. Network: its staging.
struct EpochMemory {
  Epoch epoch = 0;
  Decision decision;
  std::vector<std::uint32_t> lives;  // of the view, by index
  std::size_t self = 0;
  // Words (shared memory), rising from the decision's trim.
  OpId ready = 0, placed = 0, prepared = 0, released = 0;
  struct Slot {  // scratch: my shard of an op
    OpId op = 0;
    Value shard;
    std::uint64_t digest = 0;
  };
  std::array<Slot, kSlots> scratch{};
  struct Staged {  // network: what has come of an op
    OpId op = 0;
    std::uint32_t inputs = 0, results = 0;  // bit a member
    Value fold, root;                       // of the inputs that have come
    bool sent = false;                      // my shard
    std::array<Value, kMaxMembers> shards{};
    std::shared_ptr<Hops> hops;
  };
  std::array<Staged, kSlots> staged{};
  std::array<OpId, kMaxMembers> peer_prepared{};
  struct Shown {  // a peer's `prepared` with the digest of its result; counts when the one before has come
    OpId op = 0, before = 0;
    std::uint64_t digest = 0;
  };
  std::array<std::array<Shown, kSlots>, kMaxMembers> shown{};
  OpId announced = 0;
  Staged& staged_of(OpId op) {
    Staged& s = staged[op % kSlots];
    if (s.op < op) s = Staged{}, s.op = op;
    return s;
  }
};
using EpochMemoryPtr = std::shared_ptr<EpochMemory>;

struct SimOp {
  OpId id = 0;
  Epoch seen = 0;           // that its caller last saw
  Epoch begun = 0;          // contributed in this epoch
  bool asked = false, prepared = false, committed = false;
  EpochMemoryPtr settled;   // a decision committed it: it stands in that epoch's memory
  Value whole;              // network: the result held here
  bool corrupt = false;     // and not as it came
};

struct Input {  // a buffer of the caller's, which peers may read until the op is over here
  OpId op = 0;
  Value value;
};

// This end of a pair of incarnations, for messages. In shared memory the peer reads it, as long as it likes.
struct MessagePair {
  PairCounter counter;
  std::uint64_t sends = 0, recvs = 0;      // called for
  std::map<std::uint64_t, Value> staged;   // to send, until nobody needs it: settled, over shared memory taken
  std::map<std::uint64_t, Value> came;     // network: in this epoch
  std::map<std::uint64_t, Value> held;     // network: prepared
  std::shared_ptr<MessagePair> theirs;     // shared memory: the other end, once it was found
};

struct Life {
  std::uint32_t index = 0, replica = 0;
  Incarnation inc;
  Member member;
  CommitCounter counter;
  bool alive = true, over = false, left = false;
  bool leaves = false, leaving = false;  // its program wants to leave; has said so
  std::int64_t paused_until = 0, wake_at = INT64_MAX;
  std::int64_t slow = 1;  // factor on everything it does
  bool submit_due = false, ask_digest = false;
  bool freezing = false;
  std::int64_t stuck_since = 0;
  int conn = -1;
  std::int64_t deaf_since = 0;
  OpId cut_reported_epoch = 0;
  std::deque<SimOp> queue;  // submitted, not settled
  std::array<Input, kSlots> inputs{};
  std::map<Epoch, EpochMemoryPtr> memory;
  EpochMemoryPtr now;  // of the epoch at hand
  std::map<std::uint32_t, std::shared_ptr<MessagePair>> pairs;  // by the other life
  bool message_due = false;
  // What its state is a digest of: everything settled up to `settled`.
  OpId settled = 0;
  std::uint64_t state = 0;
  std::optional<std::pair<OpId, std::uint64_t>> fetched;
  bool catching_up = false;
  bool in_change = false, with_other = false;  // while it caught up: an unplanned decision was made; another one did too

  explicit Life(MemberConfig config) : member(std::move(config)) {}
  [[nodiscard]] bool runs() const { return alive && !over; }
  [[nodiscard]] const EpochMemory* memory_of(Epoch epoch) const {
    auto it = memory.find(epoch);
    return it == memory.end() ? nullptr : it->second.get();
  }
};

}  // namespace regroup::sim

// Plane: how the ops of one view are carried out. Shared memory (all members on one host) or network; one object per epoch.
//
// Driven only by the holder of the execution token, one call at a time, FIFO by op number: run -> announce_prepared ->
// await_commit -> copy_out -> release. run and await_commit may return kStopped (a wedge, a deadline, detach); without a
// fence they are called again for the same op, perhaps by another thread, and go on where they were.
//
// Contract (PROTOCOL.md): run() returns kPrepared only when the WHOLE result stands in memory that stays mine whoever dies.
// Nothing of the caller's output is touched before copy_out (G8). fence() ends the epoch: afterwards nothing of it
// changes memory that a later epoch uses; copy_out of ops up to the decision's trim still works until destruction (G7).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/dtype.h"
#include "base/failpoint.h"
#include "base/ids.h"
#include "base/time.h"
#include "ft/core/commit_counter.h"
#include "ft/core/view.h"
#include "runtime/algo/op.h"

namespace regroup::device {
class Stream;
}

namespace regroup {

struct PairMessage;
class PairBook;

// Of an op whose caller's buffers are not the host's: its `in` and `out` are copies, which this fills and empties.
class Stage {
 public:
  virtual ~Stage() = default;
  // The input stands. An error: it never will; kNoMemory: the op fails everywhere, else the member must go.
  [[nodiscard]] virtual Result<bool> arrived() const = 0;
  // The op is over; committed: `out` is the caller's now, and is given to it. Any thread; only the first call counts.
  virtual void settled(bool committed) = 0;
  // From here on the caller's stream waits for the op, and then has the result. Once, by the thread that calls.
  [[nodiscard]] virtual Status hold() = 0;

  // Of an op that may be carried out on the device: its own buffers, which arrived() speaks of then, and room for its whole
  // result. `result` is null: it may not. The rest is for the holder of the execution token.
  struct There {
    const void* in = nullptr;
    std::byte* result = nullptr;
    std::size_t result_bytes = 0;
  };
  [[nodiscard]] virtual There there() const { return {}; }
  // Does the input stand in `in`? The first question has it copied there. Errors as of arrived().
  [[nodiscard]] virtual Result<bool> here() { return true; }
  // This stream reads the input: it is not given back before what is queued there now and later is over.
  // `past_commit`: also if the op was committed, since others may have needed it longer than I.
  virtual void read_by(std::shared_ptr<device::Stream>, bool past_commit) { (void)past_commit; }
  // settled(true) will give the caller there().result.
  virtual void made_there() {}
};

// One op as an executor sees it. `in` stays valid and unchanged until the op is settled.
struct ExecOp {
  OpId id = 0;
  OpDesc desc;
  const void* in = nullptr;
  void* out = nullptr;
  algo::TablesPtr tables;                 // of the v forms
  std::shared_ptr<PairMessage> message;   // a send or recv: nothing else here counts
  std::shared_ptr<Stage> stage;           // begun when it has arrived
  std::shared_ptr<void> keep;             // what `in` and `out` lie in, where they are the library's own
  std::array<std::byte, 8> scalar{};      // desc.scaled(): one element, which my input is multiplied by
  std::size_t root_index = 0;  // of desc.root in the view, where there is a root; set by the engine for every attempt
  const char* plan = "";
  std::size_t call_bytes = 0;  // of a piece of a cut call: those of the whole
  // The plane's own progress, reset to zero by the engine for every new attempt (new epoch).
  struct Progress {
    std::uint32_t stage = 0;
    std::size_t at = 0;
    std::uint32_t slot = 0;
    bool prepared_announced = false;
    std::uint64_t digest = 0;  // of the whole result, where the plane makes one; not looked at otherwise
  } progress;
};

// What executors share with the engine that runs them.
struct ExecContext {
  std::atomic<std::uint32_t>* stop = nullptr;  // non-zero: return kStopped soon (looked at every 1 MiB and in every wait)
  Failpoints* failpoints = nullptr;
  std::function<void()> check_peers;           // I wait for a peer suspiciously long: look at the death words
  Instant deadline = Instant::never();         // of the caller that lends its thread
  bool glance = false;                         // do not wait at all: what peers have not done yet ends the call with kStopped
  const std::atomic<std::uint64_t>* posted = nullptr;  // rises when a message is posted
  std::uint64_t posted_seen = 0;                       // as of the messages that exchange() is given
  [[nodiscard]] bool more_posted() const { return posted->load(std::memory_order_acquire) != posted_seen; }
  [[nodiscard]] bool should_stop() const { return stop->load(std::memory_order_acquire) != 0; }
};

enum class RunState : std::uint8_t {
  kPrepared,  // run: the whole result stands here. await_commit: the commit rule holds
  kStopped,   // stop or deadline; call again or fence
  kMismatch,  // the descriptor of member `other` differs from mine
  kNoMemory,  // the op needs more memory than there is here, or than its bound: fail it everywhere
  kBroken,    // this epoch cannot go on (link reset, memory of a peer cannot be mapped): ask for a change, wait for the wedge
  kLost,      // this process cannot promise any more to leave memory of a later epoch alone: the member goes
};

struct RunResult {
  RunResult(RunState s = RunState::kStopped) : state(s) {}  // NOLINT: implicit by design
  RunState state;
  std::size_t other = 0;     // kMismatch, kBroken: index of the peer in the view
  bool ban_shared = false;   // kBroken: shared memory cannot be used with that peer
  bool stale_epoch = false;  // kMismatch: only the epoch that the caller last saw differs (shape ops)
  bool accuse = false;       // kBroken: could not be reached for the whole suspicion time
  std::vector<std::size_t> others;  // accuse: all peers of which that holds, `other` among them
  std::string detail;
};

class Plane {
 public:
  virtual ~Plane() = default;
  virtual RunResult run(ExecOp& op, ExecContext& context) = 0;
  virtual void announce_prepared(OpId op) = 0;
  // Feeds counter.observe() until counter.committable() >= op.
  virtual RunResult await_commit(OpId op, CommitCounter& counter, ExecContext& context) = 0;
  // Copies the whole result of a prepared op to op.out (and does nothing for a barrier).
  virtual void copy_out(ExecOp& op) = 0;
  // The op is over here: its scratch may go once everybody says so.
  virtual void release(OpId op) = 0;
  // Carries messages on, all at once, until one is done (kPrepared), a message is posted or as run() (kStopped, kBroken).
  // All are with members of the view, in the order of the calls. A receiver's output is written when it is done.
  virtual RunResult exchange(std::span<PairMessage* const> messages, ExecContext& context) = 0;
  // Once, before all else: what was settled in earlier epochs is told again, for who has not seen it.
  virtual void enter(const PairBook& book) = 0;
  // Beginning this op costs no system call and next to no time.
  [[nodiscard]] virtual bool brief(const ExecOp&) const { return false; }
  // Nothing is pending locally, but bytes may wait to be sent: push them without blocking. True: something is left.
  virtual bool pump() { return false; }
  virtual void fence() = 0;
  // A decision has ended the epoch, and callers may get their buffers back any time now: who was stopped while it read them
  // must not count what it reads (PROTOCOL.md). Always before an op is committed, failed or redone by that decision.
  virtual void retire() {}
  // Gives the inputs back without a decision (kUnavailable): never prepares again; peers are told where they can see it.
  virtual void withdraw() { fence(); }
  [[nodiscard]] virtual const char* name() const = 0;  // "shm", "tcp"
};

}  // namespace regroup

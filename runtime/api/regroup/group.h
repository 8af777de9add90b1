// Group: a named set of members that run collectives together, and go on when one of them dies, hangs or comes back.
//
// Promise: a collective either commits with the same bits and the same contributors at every surviving member, or has
// not touched anybody's buffer. Ops that can be redone with fewer members (all-reduce, barrier, broadcast with a living
// root) are redone by the runtime; the caller sees Outcome::attempts > 1 and nothing else. Ops whose shape is the
// membership (gather, scatter, all-to-all, reduce-scatter, all-gather) fail with kViewChanged at every survivor,
// buffers intact, and the group is usable at once. Every op may be in place in any way: no output is touched before the
// commit.
//
// Threading: all members submit the same ops in the same order. One thread at a time may submit; any thread may wait.
// Ownership: inputs must stay unchanged, and outputs untouched, until the op's outcome is known.
// After an error: see the code's comment in base/result.h; only kClosed, kUnavailable and kSystem end the group object, and
// after kEvicted it has rejoined by itself (Options::auto_rejoin): continue from the restored state. Until a caller was told
// so (by a wait or a blocking call), everything submitted ends with kEvicted too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "regroup/export.h"
#include "regroup/options.h"
#include "regroup/types.h"

namespace regroup {

class GroupImpl;
struct OpState;
namespace device {
class Device;  // kernels/device/device.h
}

// Handle of an asynchronous collective. Copies refer to the same op. Outlives the group safely.
class REGROUP_API Work {
 public:
  Work() = default;
  // Waits for the outcome. timeout_s 0: Options::wait_timeout_s. kTimeout abandons nothing: wait again.
  Result<Outcome> wait(double timeout_s = 0);
  [[nodiscard]] bool done() const;
  [[nodiscard]] OpId op() const;
  // Asks for a decision that fails this op at every member (kCancelled). May come too late: wait() tells. A message is
  // taken back here alone, see send().
  void cancel();

 private:
  friend class Group;
  Work(std::shared_ptr<GroupImpl> group, std::shared_ptr<OpState> op) : group_(std::move(group)), op_(std::move(op)) {}
  std::shared_ptr<GroupImpl> group_;
  std::shared_ptr<OpState> op_;
};

class REGROUP_API Group {
 public:
  // Returns when the first view that holds this member is installed; until then a late joiner is an observer inside
  // this call. Bounded by join_timeout_s. kConfig: options out of range or different from the others'; kRefused:
  // another log, secret or version; kUnavailable: no coordinator; kTimeout: not enough members came.
  static Result<std::unique_ptr<Group>> join(Options options);
  // Closes without leaving (the others see a failure). Call leave() first for a drain.
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // out[i] = op over members of in[i]; count elements. in == out: in place. Bits: canonical fold order (plan
  // permitting).
  Result<Outcome> all_reduce(const void* in, void* out, std::size_t count, DataType type, ReduceOp op,
                             const OpOptions& options = {});
  Work all_reduce_async(const void* in, void* out, std::size_t count, DataType type, ReduceOp op,
                        const OpOptions& options = {});

  // The same, for the root alone; the others' `out` is not looked at. kViewChanged if the root is gone.
  Result<Outcome> reduce(const void* in, void* out, std::size_t count, DataType type, ReduceOp op, MemberId root,
                         const OpOptions& options = {});
  Work reduce_async(const void* in, void* out, std::size_t count, DataType type, ReduceOp op, MemberId root,
                    const OpOptions& options = {});

  // buffer of the root to everyone's buffer. Roots are member ids. kViewChanged if the root is gone.
  Result<Outcome> broadcast(void* buffer, std::size_t count, DataType type, MemberId root,
                            const OpOptions& options = {});
  Work broadcast_async(void* buffer, std::size_t count, DataType type, MemberId root, const OpOptions& options = {});

  // Shape ops from here on. Blocks of `count` elements, in member order: view().size() of them in `out` of all_gather,
  // at the root in `out` of gather and `in` of scatter, in `in` of reduce_scatter and all_to_all. kViewChanged when the
  // view changes: compare view().epoch with Outcome::epoch and call view() again before the next one.
  Result<Outcome> all_gather(const void* in, void* out, std::size_t count, DataType type,
                             const OpOptions& options = {});
  Work all_gather_async(const void* in, void* out, std::size_t count, DataType type, const OpOptions& options = {});

  // out = block `self` of the fold of everybody's `in`.
  Result<Outcome> reduce_scatter(const void* in, void* out, std::size_t count, DataType type, ReduceOp op,
                                 const OpOptions& options = {});
  Work reduce_scatter_async(const void* in, void* out, std::size_t count, DataType type, ReduceOp op,
                            const OpOptions& options = {});

  // Block j of my `in` becomes block `self` of member j's `out`.
  Result<Outcome> all_to_all(const void* in, void* out, std::size_t count, DataType type,
                             const OpOptions& options = {});
  Work all_to_all_async(const void* in, void* out, std::size_t count, DataType type, const OpOptions& options = {});
  Result<Outcome> gather(const void* in, void* out, std::size_t count, DataType type, MemberId root,
                         const OpOptions& options = {});
  Work gather_async(const void* in, void* out, std::size_t count, DataType type, MemberId root,
                    const OpOptions& options = {});
  Result<Outcome> scatter(const void* in, void* out, std::size_t count, DataType type, MemberId root,
                          const OpOptions& options = {});
  Work scatter_async(const void* in, void* out, std::size_t count, DataType type, MemberId root,
                     const OpOptions& options = {});

  // Blocks of different sizes. `counts`: elements by member, packed in member order; the same table at every member of
  // all_gather_v and reduce_scatter_v. kInvalid: not as many counts as the view has members.
  Result<Outcome> all_gather_v(const void* in, void* out, std::span<const std::size_t> counts, DataType type,
                               const OpOptions& options = {});
  Work all_gather_v_async(const void* in, void* out, std::span<const std::size_t> counts, DataType type,
                          const OpOptions& options = {});
  Result<Outcome> reduce_scatter_v(const void* in, void* out, std::span<const std::size_t> counts, DataType type,
                                   ReduceOp op, const OpOptions& options = {});
  Work reduce_scatter_v_async(const void* in, void* out, std::span<const std::size_t> counts, DataType type,
                              ReduceOp op, const OpOptions& options = {});

  // `at`: where each block begins, in elements; empty: packed. A member knows its own tables only; where what one gives
  // and what the other takes differ, a decision fails the op everywhere (kMismatch names the two).
  Result<Outcome> all_to_all_v(const void* in, std::span<const std::size_t> in_counts,
                               std::span<const std::size_t> in_at, void* out, std::span<const std::size_t> out_counts,
                               std::span<const std::size_t> out_at, DataType type, const OpOptions& options = {});
  Work all_to_all_v_async(const void* in, std::span<const std::size_t> in_counts, std::span<const std::size_t> in_at,
                          void* out, std::span<const std::size_t> out_counts, std::span<const std::size_t> out_at,
                          DataType type, const OpOptions& options = {});

  // count: of this member. counts, at and out: of the root; not looked at elsewhere.
  Result<Outcome> gather_v(const void* in, std::size_t count, void* out, std::span<const std::size_t> counts,
                           std::span<const std::size_t> at, DataType type, MemberId root,
                           const OpOptions& options = {});
  Work gather_v_async(const void* in, std::size_t count, void* out, std::span<const std::size_t> counts,
                      std::span<const std::size_t> at, DataType type, MemberId root, const OpOptions& options = {});
  Result<Outcome> scatter_v(const void* in, std::span<const std::size_t> counts, std::span<const std::size_t> at,
                            void* out, std::size_t count, DataType type, MemberId root, const OpOptions& options = {});
  Work scatter_v_async(const void* in, std::span<const std::size_t> counts, std::span<const std::size_t> at, void* out,
                       std::size_t count, DataType type, MemberId root, const OpOptions& options = {});
  // Every member calls: it gives a block to `to` and takes one from `from`; a count of 0: it gives or takes nothing,
  // and that member is not looked at. What one gives and the other takes is compared as above.
  Result<Outcome> send_recv(const void* in, std::size_t in_count, MemberId to, void* out, std::size_t out_count,
                            MemberId from, DataType type, const OpOptions& options = {});
  Work send_recv_async(const void* in, std::size_t in_count, MemberId to, void* out, std::size_t out_count,
                       MemberId from, DataType type, const OpOptions& options = {});

  // Messages: only the two members call, `to` and `from` are ids of this group. Each direction of a pair is a sequence of
  // its own: the n-th send meets the n-th recv, which must agree in count and type, else both get kMismatch (and the
  // next ones go on). A send is done when its receiver holds the message; it may use its buffer again then. Neither
  // takes an op number: Outcome::op counts the direction's messages, Work::op() is 0.
  // cancel() of a recv that does not hold its message yet takes it back (kCancelled, its buffer intact, nothing is said to
  // the sender): the message that it would have had goes to the next recv, so none is lost. Of a send, only while it waits
  // behind a collective: once it has begun its receiver may hold it. In both cases wait() tells what has become of it.
  // Order: messages that follow one another in the calls of a member go on together, so a ring, an exchange in pairs or
  // a group of them cannot block itself; a blocking send returns when the receiver has called. Between messages and
  // collectives the order is that of the calls (in a grouped call collectives come first), as in NCCL's streams.
  // A view change that both survive costs a message time at most. kViewChanged at the survivor, buffers intact, when the
  // peer leaves the view, was not in it, or is another incarnation than in the view that the caller last saw. A receiver
  // that held the message whole when its sender was lost gets it. kInvalid: a message to oneself. kNoMemory: over
  // Options::staging_bytes at one of the two, at both. In a sequence up to 16 are in flight, 4096 may be pending.
  Result<Outcome> send(const void* in, std::size_t count, DataType type, MemberId to, const OpOptions& options = {});
  Work send_async(const void* in, std::size_t count, DataType type, MemberId to, const OpOptions& options = {});
  Result<Outcome> recv(void* out, std::size_t count, DataType type, MemberId from, const OpOptions& options = {});
  Work recv_async(void* out, std::size_t count, DataType type, MemberId from, const OpOptions& options = {});

  Result<Outcome> barrier(const OpOptions& options = {});
  Work barrier_async(const OpOptions& options = {});

  // Grouped calls: the asynchronous collectives between the two are launched together at group_end, with consecutive op
  // numbers, and one round of `prepared` commits them all (as far as Options::window reaches). Their Works are valid
  // after group_end. Blocking calls between the two are kInvalid. Of the thread that submits.
  Status group_start();
  Status group_end();

  // Makes sub-groups, one of each colour: a group of its own with this group's options, at the same coordinator; its
  // members are numbered 0, 1, .. by (key, order in this view). Called by every member at the same place in the order of
  // ops, like a collective; nothing else of this group may be submitted meanwhile. kNoColor: a member of none, which
  // gets nullptr. `configure` may change options of the sub-group (registered state, callbacks; not who is in it).
  // Either all members get their sub-group or all get an error and there is none: kViewChanged (look at view(), call it
  // again), kInvalid (a colour below kNoColor), or what kept a member from joining, which is named. After kTimeout
  // members may be out of step: close the group.
  // From then on a sub-group and this group know nothing of each other: each has its own views, op numbers and failures,
  // and what happens in one disturbs no other. A process that dies leaves every group that it was in; one that comes
  // back to this group is in no sub-group until all members split again.
  static constexpr int kNoColor = -1;
  Result<std::unique_ptr<Group>> split(int color, int key = 0, const std::function<void(Options&)>& configure = {});
  // Of a sub-group: its members' ids in the group that was split, by rank as of the split. Empty: not one.
  [[nodiscard]] const std::vector<MemberId>& parent_ids() const;

  // Registered memory: peers on the host read it directly, which saves a copy per op. Zeroed, 2 MiB pages where to be
  // had, populated (kNoMemory now, never a SIGBUS later). Freed by deallocate (waits for ops in flight) or with the
  // group.
  Result<void*> allocate(std::size_t bytes);
  Status deallocate(void* memory);

  // With Options::apply: the caller is about to change its registered state (all of it, or these ranges), and is done; it is
  // then as of the last step. Between the outcome of the step's last op and the next submission. begin_update may copy what
  // joiners still need of those ranges (Options::snapshot_bytes); it waits for nobody. kInvalid: ops are pending.
  Status begin_update(std::span<const StateRange> ranges = {});
  Status end_update();
  // A digest (XXH3 64) of every registered buffer, in order. Equal at equal steps at all members.
  [[nodiscard]] std::vector<std::uint64_t> state_digests() const;
  // How this member caught up; zeros: it did not.
  [[nodiscard]] CatchUp caught_up() const;
  [[nodiscard]] Checkpoints checkpoints() const;

  // Leaves at the next mark; nobody loses a step. Ops already submitted are finished first. Bounded.
  Status leave(double timeout_s = 0);

  // The installed view. Also tells the runtime that the caller has seen it (shape ops compare epochs).
  [[nodiscard]] ViewInfo view() const;
  [[nodiscard]] MemberId id() const;
  // Marks settled since the group began: the number of steps done, the same at every member at the same op.
  [[nodiscard]] std::uint64_t steps() const;
  // Duration of the last state transfer into this member, seconds; 0: none.
  [[nodiscard]] double last_restore_s() const;
  [[nodiscard]] const Options& options() const;
  // Options::device; null: there is none.
  [[nodiscard]] std::shared_ptr<device::Device> device() const;
  // The flight recorder as JSON lines, oldest first.
  [[nodiscard]] std::string flight_record() const;
  // Closes at once, as if the process had died (tests with members as threads): nothing is said to anybody.
  void detach();

 private:
  explicit Group(std::shared_ptr<GroupImpl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<GroupImpl> impl_;
};

}  // namespace regroup

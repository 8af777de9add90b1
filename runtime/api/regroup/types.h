// Values of the public API: what a collective is given and what it returns.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/ids.h"
#include "base/result.h"

namespace regroup {

// A view: the numbered, ordered membership that ops are executed in. Immutable.
struct ViewInfo {
  LogId log = 0;
  Epoch epoch = 0;
  std::vector<MemberId> members;  // in canonical order
  std::size_t self = 0;           // index of this member
  std::string transport;          // "shm", "tcp", "ucx", "nccl", or "hybrid" (some members share a host, not all: a network, unless the plan is hierarchical)
  std::string reason;             // why this view was made: "join:2", "dead:1", ...
  [[nodiscard]] std::size_t size() const { return members.size(); }
};

// Of a cut call: one of the ops that it was carried out as.
struct OutcomePiece {
  std::size_t at = 0, bytes = 0;  // its range of the buffer
  OpId op = 0;
  std::shared_ptr<const ViewInfo> view;  // its contributors: pieces may differ; kAvg divides each by its own
};

// What a committed collective did. The same at every member that committed it (G1), but for `attempts`.
struct Outcome {
  OpId op = 0;
  Epoch epoch = 0;                       // the view it committed in
  std::shared_ptr<const ViewInfo> view;  // its members are the contributors
  std::uint32_t attempts = 1;            // executions at this member: 2 or more after a redo
  const char* plan = "";                 // how it was carried out: "small", "waist", "direct"
  std::vector<OutcomePiece> pieces;      // of a cut call, in order; the fields above are of the last one
  [[nodiscard]] std::size_t contributors() const { return view ? view->members.size() : 0; }
};

struct OpOptions {
  // This op ends a step. Only looked at when Options::explicit_marks is set; else every op is a mark.
  bool mark = false;
  // Bound of a blocking call; 0: Options::wait_timeout. On kTimeout the op is still pending: submit async to wait again.
  double timeout_s = 0;
  // Of an asynchronous call: its caller waits for it next, and does the work then, so no other thread is woken for it. Where it
  // does not wait after all, the op is begun up to 0.1 s late.
  bool wait_follows = false;
  // Reductions: points at one element of the op's type, read at the call. This member's input is multiplied by it before
  // the fold (NCCL's pre-multiplied sum). Every member gives one, each its own, or none does.
  const void* premultiply = nullptr;
  // The output may be written before the commit: after an error it holds anything, the input is intact. Saves the copy-out in
  // shared memory, most of all with buffers from Group::allocate. The same at every member. Output and input must not overlap
  // (kInvalid; a broadcast's buffer is its output but at the root), nor in a grouped call the output and another op's input.
  // Not looked at by the v forms, messages, small ops and over a network.
  bool output_scratch = false;
  // all_reduce, reduce and broadcast (kInvalid: others) of more bytes: carried out as a run of ops of at most so many bytes,
  // each with an op number, a commit, a redo and contributors of its own, so that large results are copied out of the cache
  // and need little memory. 0: as one op. The same at every member. Only the last piece ends a step. What a caller may see:
  // a piece is either committed in its range of the output or has left it as it was, and a failure between two of them leaves
  // committed pieces before it. Where a decision fails a piece (kViewChanged: the root is gone; kMismatch, kCancelled,
  // kNoMemory), the others are carried out all the same, so that op numbers stay aligned, and the call ends with the first
  // error, which names the pieces. Work::cancel cancels what is not committed. kTimeout of a blocking call, or of an
  // asynchronous one while it waits for room in the window, leaves members out of step: close the group.
  std::size_t cut_bytes = 0;
  // Of a call whose buffers are memory of Options::device: the caller's stream there (a cudaStream_t; null: CUDA's default
  // stream). The op begins after what the stream holds; what is queued on it afterwards runs when the op is over, and sees
  // the result, or the output as it was where the op failed: Work::wait() tells which, and need not be called before. A
  // blocking call, or a wait, returns when the op is committed; that the output stands only the stream knows. The input may
  // be changed by later steps of the stream, which must live until then. A barrier may have a stream too (not the default
  // one). Calls between group_start and group_end all read their inputs before the stream waits for the first of them, so a
  // recv and a send of one stream go there, as with NCCL. kUnsupported: calls that cut_bytes would cut, a stream that records
  // a graph. kNoMemory: of pinned memory; a collective then fails at all members, a message is not submitted.
  // After kSystem (the device is lost) the group object has ended. An eviction lets
  // the streams go on, with outputs as they were: what they do then must not count, and on_restored must let it run out.
  void* stream = nullptr;
};

// A named buffer of the caller's state. A returning member has it filled from a living one before it contributes.
// May change only between the commit of a mark and the submission of the next op. Sizes must be equal at all members.
struct StateBuffer {
  std::string name;
  void* data = nullptr;
  std::size_t bytes = 0;
  DataType type = DataType::kU8;           // what a refusal names where two members differ; bytes are compared as well
  std::vector<std::uint64_t> shape = {};   // in elements; empty: one dimension
};

// State that is no tensor: data loader, random generator. At most 3 MiB in all. `save` is called on the thread that ends an
// update (Group::end_update) where a joiner waits for that step; `load` at the joiner, before anything is replayed.
struct StateBlob {
  std::string name;
  std::function<std::vector<std::byte>()> save;
  std::function<Status(std::span<const std::byte>)> load;
};

// A part of a registered buffer.
struct StateRange {
  std::size_t buffer = 0;  // index in Options::state
  std::size_t offset = 0;  // bytes
  std::size_t bytes = 0;
};

// What one op of a step did, as a joiner replays it.
struct StepResult {
  OpId op = 0;
  Code code = Code::kOk;             // kOk: committed; else what a decision failed it with, for everybody
  const void* data = nullptr;        // the result, where every member holds the same: all_reduce, broadcast, all_gather
  std::size_t bytes = 0;
  std::uint32_t contributors = 0;
};
// Brings the registered state from the end of step - 1 to the end of `step`, as every member did from these results (all
// ops of the step, in order). Must give the same bits as they have. An error ends the join.
using ApplyFunction = std::function<Status(std::uint64_t step, std::span<const StepResult> results)>;

// How a joiner caught up, from the call that waited for it to the hand-over.
struct CatchUp {
  double seconds = 0;
  std::uint32_t snapshots = 0;          // begun; more than one: sources were lost, or a bound was reached
  std::uint64_t kept_bytes = 0;         // that a newer snapshot did not move again, since they had not changed
  std::uint64_t compared_bytes = 0;     // of the state at the hand-over that were compared with another member's; 0: none in time
  std::string trouble;                  // the last thing that went wrong meanwhile: a source that was dropped, a bound that was reached
  std::uint64_t replayed_steps = 0;
  std::vector<std::pair<MemberId, std::uint64_t>> bytes_per_source;
};

// Checkpoints that this member has written (Options::checkpoint_dir); others write theirs.
struct Checkpoints {
  std::uint64_t step = 0;                                // of the last one
  std::uint64_t written = 0, failed = 0, left_out = 0;   // left out: the one before was still being written
  std::string trouble;                                   // why the last one failed; empty: it did not
};

using ViewCallback = std::function<void(const ViewInfo&)>;

}  // namespace regroup

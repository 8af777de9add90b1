// OpState: one collective from submit to outcome. Shared by the caller's Work and the engine's queue.
// Written by the holder of the execution token; `done` publishes the result.
#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "regroup/types.h"
#include "runtime/exec/plane.h"

namespace regroup {

struct OpState {
  OpState() = default;
  explicit OpState(ExecOp&& op) : exec(std::move(op)) {}
  ExecOp exec;
  bool submitting = false;   // at kAfterSubmit, where that is armed: begun by nobody (of the queue's lock)
  bool chained = false;      // the next op was launched together with this one
  bool numbered = false;     // has its op number; not while the member is out of the group
  // Not 0: submitted in a life that is over, or before its caller was told so; ends with kEvicted once the group is
  // rejoined. The number of that eviction.
  std::uint32_t evicted = 0;
  bool prepared = false;     // in the current epoch
  bool step_begun = false;   // the step failpoint was passed
  bool asked = false;        // a decision was asked for in the current epoch
  std::uint32_t attempts = 0;
  Epoch started_epoch = 0;
  std::shared_ptr<Plane> settled_plane;           // committed by a decision's trim: copy out of this
  std::shared_ptr<const ViewInfo> settled_view;   // and these contributed
  std::atomic<std::uint32_t> done{0};
  Result<Outcome> result{Code::kTimeout, {}};  // until `done`
  // Publishes the result.
  void end(Result<Outcome> with) {
    result = std::move(with);
    if (exec.stage) exec.stage->settled(result.ok());
    done.store(1, std::memory_order_release);
  }
  std::vector<std::shared_ptr<OpState>> pieces;   // a cut call: these are the ops, and nothing else here counts
};
using OpPtr = std::shared_ptr<OpState>;

}  // namespace regroup

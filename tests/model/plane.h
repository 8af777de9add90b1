// Plane: what a member's engine may do next, from what it can see of its peers. Two planes: shards that stand in peers'
// segments (shared memory: words and shards outlive their owner, inputs and results are read where they lie), whole
// results held (network: what was sent is a copy, what a dead member sent last may be lost), and shards that stand in
// the callers' outputs (pulled before `prepared` is raised; the outputs are the callers' again after their commit).
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "tests/model/proc.h"

namespace regroup::model {

using Procs = std::array<const Proc*, kMaxSlots>;

// Calls visit(what, arg) for every step of the engine of `slot` that is possible.
void engine_steps_of(const Bounds& bounds, const Procs& procs, int slot,
                     const std::function<void(Do, std::uint64_t)>& visit);

// Of the ops that `slot` has committed and not yet copied out, the first whose result does not stand whole; 0: none.
OpId missing_shard(const Bounds& bounds, const Procs& procs, int slot);

}  // namespace regroup::model

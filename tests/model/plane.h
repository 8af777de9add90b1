// Plane: what a member's engine may do next, from what it can see of its peers. Two planes: shards that stand in peers'
// segments (shared memory: words and shards outlive their owner, inputs and results are read where they lie), and whole
// results held (network: what was sent is a copy, what a dead member sent last may be lost).
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

}  // namespace regroup::model

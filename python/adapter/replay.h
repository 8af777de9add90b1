// Python's functions as the core's callbacks for catch-up (Options::state, blobs, apply).
//
// Threading: the core calls on threads of its own; the GIL is taken there. Ownership: a Replay keeps its functions, and
// what they refer to (the registered tensors), as long as a group has a copy of it. After a failure: what a function
// raises is the error of the join.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "python/adapter/backend.h"

namespace regroup::python {

// buffers: (name, address, bytes). save() -> bytes, load(bytes), apply(step, [(op, ok, memory or None, contributors)]).
Replay replay_of(const std::vector<std::tuple<std::string, std::uintptr_t, std::size_t>>& buffers,
                 const pybind11::function& save, const pybind11::function& load, const pybind11::function& apply);

}  // namespace regroup::python

// One rank of a failure run: carries out the script, does to itself what the command line says, goes on after what
// others suffer, and comes back where the living are. Every call has inputs of its own; every result is checked.
// One thread; ends with status 1 and a message when an op fails otherwise than by a change of members.
#pragma once

#include "bench/arguments.h"
#include "bench/collective.h"

namespace regroup::bench {

// True in a process that run_failure started.
bool is_failure_member();

int run_failure_member(const Collective& collective, const Arguments& arguments);

}  // namespace regroup::bench

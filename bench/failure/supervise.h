// The parent of a failure run: starts a coordinator and the ranks, sees that those it expects to die do and nobody
// else, wakes and restarts them, prints each row once every rank that was never touched is past it. Every wait has a
// bound.
#pragma once

#include <string>
#include <vector>

#include "bench/arguments.h"
#include "bench/collective.h"

namespace regroup::bench {

// Exit status: 0 if every failure came, everybody recovered, nobody else failed and nothing was wrong.
int run_failure(const Collective& collective, const Arguments& arguments, const std::vector<std::string>& command);

}  // namespace regroup::bench

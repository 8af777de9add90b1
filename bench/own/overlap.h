// overlap_perf: ops in flight against one op of the same bytes, and beside a compute loop that runs on the calling
// thread. rate = single / in flight; overlap = the share of the shorter of the two, op and compute, that was hidden.
#pragma once

#include <string>
#include <vector>

#include "bench/arguments.h"
#include "bench/collective.h"
#include "bench/threads.h"

namespace regroup::bench {

// (alone + compute - both) / min(alone, compute) in percent: 100 hides all of the shorter one, 0 nothing; below 0 the
// two cost each other.
double overlap_percent(double alone_us, double compute_us, double both_us);

int measure_overlap(const Collective& collective, const Arguments& arguments, int in_flight,
                    const std::vector<std::string>& command, const ThreadRank* thread);

}  // namespace regroup::bench

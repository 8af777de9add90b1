// latency_perf: every call of a blocking collective is timed by itself; percentiles of each rank's calls, the worst
// rank.
#pragma once

#include <string>
#include <vector>

#include "bench/arguments.h"
#include "bench/collective.h"
#include "bench/threads.h"

namespace regroup::bench {

int measure_latency(const Collective& collective, const Arguments& arguments, const std::vector<std::string>& command,
                    const ThreadRank* thread);

}  // namespace regroup::bench

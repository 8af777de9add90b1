// The driver of all *_perf programs: command line, processes, timing as nccl-tests does it (warm up, barrier, wall
// clock over n back-to-back calls), bitwise check, table and JSON. Exit status 0 only if all ran and nothing was wrong.
#pragma once

#include "bench/collective.h"

namespace regroup::bench {

// main() of a program. With --ranks it starts the ranks and a coordinator, else it is one rank.
int run_benchmark(const Collective& collective, int argc, char** argv);

}  // namespace regroup::bench

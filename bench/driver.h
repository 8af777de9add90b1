// The driver of all *_perf programs: command line, processes, timing as nccl-tests does it (warm up, barrier, wall
// clock over n back-to-back calls), bitwise check, table and JSON. Exit status 0 only if all ran and nothing was wrong.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/arguments.h"
#include "bench/collective.h"
#include "bench/threads.h"

namespace regroup::bench {

// main() of a program. With --ranks or --threads it starts the ranks and a coordinator, else it is one rank.
int run_benchmark(const Collective& collective, int argc, char** argv);

// main() of a program that measures something else of a collective, which --collective names (default: all_reduce).
// `measure` is one rank, perhaps a thread: its exit status.
struct Program {
  const char* name;   // "latency_perf"
  bool cuts = false;  // its ops are ranges of one call: not every collective has that
  CommandLine line;
  std::function<int(const Collective&, const Arguments&, const std::vector<std::string>& command, const ThreadRank* thread)>
      measure;
};
int run_program(const Program& program, int argc, char** argv);

}  // namespace regroup::bench

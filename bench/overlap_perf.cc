// overlap_perf: several ops in flight, and a compute loop beside them (bench/own/overlap.h).
#include "bench/driver.h"
#include "bench/own/overlap.h"

using namespace regroup::bench;

int main(int argc, char** argv) {
  int in_flight = 4;
  Program program;
  program.name = "overlap_perf";
  program.cuts = true;
  program.line = {"1M", "16M", 4, 20, {{"--in-flight", "ops that share the bytes of a row", &in_flight, 1, 32}}};
  program.measure = [&](const Collective& collective, const Arguments& arguments,
                        const std::vector<std::string>& command, const ThreadRank* thread) {
    return measure_overlap(collective, arguments, in_flight, command, thread);
  };
  return run_program(program, argc, argv);
}

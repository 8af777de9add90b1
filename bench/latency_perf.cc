// latency_perf: percentiles of single calls (bench/own/latency.h).
#include "bench/driver.h"
#include "bench/own/latency.h"

int main(int argc, char** argv) {
  regroup::bench::Program program;
  program.name = "latency_perf";
  program.line = {"4", "64K", 4, 2000, {}};
  program.measure = regroup::bench::measure_latency;
  return regroup::bench::run_program(program, argc, argv);
}

// main() of every program that times one collective: which one is said by the build (REGROUP_BENCH_PROGRAM).
#include "bench/collective.h"
#include "bench/driver.h"

int main(int argc, char** argv) {
  return regroup::bench::run_benchmark(*regroup::bench::find_collective(REGROUP_BENCH_PROGRAM), argc, argv);
}

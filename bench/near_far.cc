// near_far: prints the near/far probe once, in microseconds (bench/probe.h). The suite frames every point with it.
#include <cstdio>

#include "bench/probe.h"

int main() {
  regroup::bench::Probe probe;
  const double us = probe.measure_us();
  std::printf("%.3f\n", us);
  return us > 0 ? 0 : 1;
}

// The near/far probe: a barrier of two processes through one shared page. Machines of two virtual cores flip between
// two states within minutes: below 0.12 us the cores share a cache ("near"), above 0.2 us they do not ("far"), and
// cache-bound results differ by 3 to 10 times. Points are compared only in the same state.
//
// Ownership: the object owns a helper process, forked at start (make it before there are threads), which sleeps on a
// socket between measurements and ends with its owner. One thread at a time. After a failure measure_us() returns 0.
#pragma once

#include <sys/types.h>

namespace regroup::bench {

struct ProbePage;

class Probe {
 public:
  Probe();  // forks; a probe that could not be made measures 0
  ~Probe();
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  // The barrier in microseconds, the best of 20 runs of 200 (about 2 ms); the caller is moved to one core meanwhile.
  double measure_us();

 private:
  ProbePage* page_ = nullptr;
  int socket_ = -1;
  pid_t helper_ = -1;
};

// Moves the calling thread to the `index`-th core that it may run on, modulo their number.
bool bind_to_core(int index);

}  // namespace regroup::bench

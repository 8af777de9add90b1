// Launcher: starts a coordinator and N ranks of a program on this host, watches them, restarts the dead, injects faults,
// forwards their output, and leaves nobody behind. One thread, one loop; every wait is bounded.
// It sees a death at once through the death table that the ranks inherit, and tells the coordinator.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "tools/launch/chaos_spec.h"

namespace regroup::launch {

struct LaunchOptions {
  int ranks = 1;
  std::vector<std::string> program;  // and its arguments
  std::vector<Fault> chaos;
  bool restart = false;              // a rank that died is started again; one that ended with 0 is not
  int max_restarts = 100;            // of all ranks together
  Duration restart_delay = Duration::from_ms(0);
  Duration timeout{0};               // of the whole run; 0: none
  std::string group = "default";
  std::string transport;             // empty: as the environment says
  std::string coordinator;           // host:port of one that runs already; empty: start one
  std::string listen = "127.0.0.1:0";  // of the one that is started
  std::string events;                // file for JSON lines; empty: none
  bool prefix = true;
};

// Runs to the end. Exit status: 0 when every rank finally ended with 0; else the first failing status (128 + signal for a
// signal, 124 for the timeout, 130 after Ctrl-C).
Result<int> launch(const LaunchOptions& options);

}  // namespace regroup::launch

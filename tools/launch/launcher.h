// launch(): starts a coordinator and N ranks of a program on this host, watches them, restarts the dead, injects
// faults, forwards their output, and leaves nobody behind. One thread, one loop; every wait is bounded.
//
// Ranks find each other by REGROUP_COORDINATOR, REGROUP_RANK (RANK, LOCAL_RANK), REGROUP_WORLD_SIZE (WORLD_SIZE,
// LOCAL_WORLD_SIZE), and inherit a table of death words (REGROUP_DEATH_FD): a death is told to the coordinator before
// the kernel has torn the process down. PROGRAM is to be the member itself, or to exec it: a wrapper that stays hides
// it.
//
// Events (JSON lines, CLOCK_MONOTONIC, in the order seen): start{rank,pid,life,faults} exit{rank,pid,status,signal}
// stop/resume{rank} (the process's state), continue{rank} (we sent SIGCONT), restart{rank}, death{rank,incarnation}
// (seen), told{incarnation} (the coordinator knows), fault{rank,fault,kind} (rank -1: the coordinator; of a fault that
// the rank did to itself: the time when it was seen), unfired{fault}, coordinator_start/_exit/_gone,
// interrupted{signal}, timeout, killing, end{status}.
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
  bool restart = false;    // a rank that died is started again; one that ended with 0 is not
  int max_restarts = 100;  // of all ranks together
  Duration restart_delay{0};
  Duration timeout{0};                   // of the whole run; 0: none
  Duration grace = Duration::from_s(5);  // between SIGTERM and SIGKILL, when the run is ended
  std::string group = "default";
  std::string transport;                           // empty: as the environment says
  std::string coordinator;                         // host:port of one that runs already; empty: start one
  std::string listen = "127.0.0.1:0";              // of the one that is started
  std::string regroup_program = "/proc/self/exe";  // its `coordinator` command is that
  std::string events;                              // file for JSON lines; empty: none
  bool prefix = true;
  bool quiet = false;  // no lines of the launcher's own about deaths and restarts
};

// Runs to the end, on a thread that outlives the call's children. Exit status: 0 when every rank finally ended with 0;
// else the first failing status (128 + signal for a signal, 124 for the timeout, 130 after Ctrl-C; a second Ctrl-C
// kills at once). An error: nothing ran, or not all could be started, and nobody is left.
Result<int> launch(const LaunchOptions& options);

}  // namespace regroup::launch

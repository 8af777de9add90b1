// Child: one process that the launcher started, in a process group of its own, with its output forwarded.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/launch/output.h"

namespace regroup::launch {

struct Child {
  pid_t pid = -1;
  Output out, err;
  void pump() { out.pump(), err.pump(); }
  void finish() { out.finish(), err.finish(); }
};

struct ChildSetup {
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;  // added to ours
  std::vector<std::string> unset;
  int keep_fd = -1;  // inherited besides 0, 1, 2
  std::string prefix;
};

// kSystem: cannot fork, or the program cannot be executed (says which, and why).
Result<Child> start_child(const ChildSetup& setup);

}  // namespace regroup::launch

// Starts and ends the processes of a benchmark: a coordinator of its own and copies of the program as ranks. Children
// die with their parent (PDEATHSIG), so that nothing is left behind. One thread. Every wait has a bound.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace regroup::bench {

using Environment = std::vector<std::pair<std::string, std::string>>;

// The folder of this program: the `regroup` command lies beside it.
std::string program_folder();

// fork and exec. `output`: file that stdout and stderr are appended to; empty: the parent's own.
Result<pid_t> start_process(const std::vector<std::string>& command, const Environment& set, const std::string& output);

// A folder below TMPDIR, removed with the object unless keep() was called.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }  // empty: could not be made
  void keep() { keep_ = true; }

 private:
  std::string path_;
  bool keep_ = false;
};

// A coordinator with a fresh log in `folder`. Ended with the object.
class CoordinatorProcess {
 public:
  ~CoordinatorProcess();
  CoordinatorProcess() = default;
  CoordinatorProcess(const CoordinatorProcess&) = delete;
  CoordinatorProcess& operator=(const CoordinatorProcess&) = delete;
  Status start(const std::string& folder, const std::string& host = "127.0.0.1");
  [[nodiscard]] const std::string& address() const { return address_; }  // host:port
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  std::string address_;
};

// How a child ended, if it has: "exit status 3", "signal 9". Does not wait.
std::optional<std::string> ended(pid_t pid, bool& well);

// Ends it, SIGTERM then SIGKILL, and reaps it. Bounded.
void end_process(pid_t pid);

// The last lines of a file, for error messages.
std::string tail_of(const std::string& path, std::size_t bytes = 2000);

}  // namespace regroup::bench

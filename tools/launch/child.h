// Child: one process that the launcher started, in a process group of its own, with its output forwarded.
//
// It gets SIGKILL when the thread that started it ends (so nobody outlives a killed launcher), reads nothing (standard
// input is /dev/null: a background group that reads a terminal would be stopped), and begins with plain signal
// handling. When it ends, what is left of its process group is ended too, before its pid can be given to anybody else.
// Threading: one thread, which outlives the children.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "tools/launch/output.h"

namespace regroup::launch {

struct ChildSetup {
  std::vector<std::string> argv;
  std::map<std::string, std::string> environment;  // added to ours
  std::vector<std::string> unset;
  int keep_fd = -1;  // inherited besides 0, 1, 2
  std::string prefix;
  int out_to = 1, err_to = 2;  // where its lines go
};

struct ChildChange {
  enum class Kind : std::uint8_t { kStopped, kContinued, kEnded } kind = Kind::kEnded;
  int status = 0;  // kEnded: exit status, or 128 + signal
  int signal = 0;  // kEnded by a signal: which; kStopped: which
};

class Child {
 public:
  // kSystem: cannot fork, or the program cannot be executed (says which, and why).
  static Result<Child> start(const ChildSetup& setup);
  Child() = default;

  [[nodiscard]] pid_t pid() const { return pid_; }  // -1: none, or it has ended and was reaped
  [[nodiscard]] bool running() const { return pid_ > 0; }
  // What happened to it next; none: nothing new. After kEnded it is reaped and its output is forwarded to the end.
  std::optional<ChildChange> poll();
  // To the process; to its whole group. False: it is not running.
  bool send(int signal) const;
  bool send_group(int signal) const;
  Output& out() { return out_; }
  Output& err() { return err_; }

 private:
  pid_t pid_ = -1;
  Output out_, err_;
};

}  // namespace regroup::launch

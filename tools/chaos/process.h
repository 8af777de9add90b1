// Process: a child of the harness whose last lines are kept instead of shown. One thread.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "tools/launch/child.h"

namespace regroup::chaos {

class Process {
 public:
  static Result<Process> start(const launch::ChildSetup& setup);

  [[nodiscard]] pid_t pid() const { return child_.pid(); }
  [[nodiscard]] bool running() const { return child_.running(); }
  [[nodiscard]] bool stopped() const { return stopped_; }
  bool send(int signal) const { return child_.send(signal); }
  // Reads its output and looks what happened to it. What ended it, once.
  std::optional<launch::ChildChange> poll();
  // SIGKILL to it and its group, and waits for the end; bounded.
  void end();
  // The first line that begins with `word`, without it; empty: not said yet.
  [[nodiscard]] std::string line_after(std::string_view word) const;
  [[nodiscard]] std::string said() const;

 private:
  static constexpr std::size_t kKeptLines = 40;
  launch::Child child_;
  bool stopped_ = false;
  std::shared_ptr<std::deque<std::string>> lines_;  // shared with the taps, which stay when this object moves
};

}  // namespace regroup::chaos

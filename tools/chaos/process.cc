#include "tools/chaos/process.h"

#include <poll.h>

#include <csignal>

namespace regroup::chaos {

Result<Process> Process::start(const launch::ChildSetup& setup) {
  auto child = launch::Child::start(setup);
  if (!child.ok()) return child.error();
  Process p;
  p.child_ = std::move(*child);
  p.lines_ = std::make_shared<std::deque<std::string>>();
  const auto tap = [lines = p.lines_](std::string_view line) {
    lines->emplace_back(line);
    if (lines->size() > kKeptLines) lines->pop_front();
    return true;
  };
  p.child_.out().set_tap(tap), p.child_.err().set_tap(tap);
  return p;
}

std::optional<launch::ChildChange> Process::poll() {
  child_.out().pump(), child_.err().pump();
  auto change = child_.poll();
  if (!change) return std::nullopt;
  stopped_ = change->kind == launch::ChildChange::Kind::kStopped;
  if (change->kind != launch::ChildChange::Kind::kEnded) return std::nullopt;
  return change;
}

void Process::end() {
  for (int i = 0; child_.running() && i < 5000; ++i) {
    child_.send_group(SIGKILL);
    if (!poll()) ::poll(nullptr, 0, 1);
  }
}

std::string Process::line_after(std::string_view word) const {
  if (lines_)
    for (const std::string& line : *lines_)
      if (line.starts_with(word)) return line.substr(word.size());
  return "";
}

std::string Process::said() const {
  std::string text;
  if (lines_)
    for (const std::string& line : *lines_) text += "    " + line + "\n";
  return text;
}

}  // namespace regroup::chaos

// Output: forwards what a child writes, line by line, with a prefix. A line leaves in one write, so the lines of many
// ranks mix but never interrupt each other. A line over 64 KiB leaves in pieces. An end that nobody reads any more
// (a closed pipe) swallows the rest; it never ends the launcher. Threading: one thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace regroup::launch {

class Output {
 public:
  Output() = default;
  // Reads `from` (made non-blocking) and writes lines to the descriptor `to`, which it does not own.
  Output(Fd from, int to, std::string prefix);

  // Sees every line first; true: it is kept back. May not destroy this object.
  void set_tap(std::function<bool(std::string_view)> tap) { tap_ = std::move(tap); }
  [[nodiscard]] int fd() const { return from_.get(); }  // for poll; -1: closed
  // Forwards what is there now. Closes at the end of the stream.
  void pump();
  // The child is gone: the rest of what is there, a last line without its newline included, then closes.
  void finish();

 private:
  void forward(std::string_view line);
  Fd from_;
  int to_ = -1;
  std::string prefix_;
  std::string partial_;
  std::function<bool(std::string_view)> tap_;
};

// The prefix of a rank's lines: "[2] ", in colour for a terminal.
[[nodiscard]] std::string rank_prefix(int rank, bool colour);

}  // namespace regroup::launch

// DumpSignal: SIGUSR1 asks every tracing recorder of the process for a dump.
//
// A handler is the process's, so this is the one place of the library with process-wide state: a counter that the
// handler raises (async-signal-safe) and the handler that was there before, which is called too. Installed while at
// least one DumpSignal lives, so only in programs that asked for a trace; the last one puts the earlier handler back,
// unless somebody has replaced ours meanwhile. Threading: construction and destruction from any thread; taken() from
// one.
#pragma once

#include <cstdint>
#include <memory>

#include "base/result.h"

namespace regroup {

class DumpSignal {
 public:
  static Result<std::unique_ptr<DumpSignal>> install();  // kSystem
  ~DumpSignal();
  DumpSignal(const DumpSignal&) = delete;
  DumpSignal& operator=(const DumpSignal&) = delete;
  // True once after one or more signals.
  bool taken() noexcept;

 private:
  explicit DumpSignal(std::uint32_t seen) : seen_(seen) {}
  std::uint32_t seen_;
};

}  // namespace regroup

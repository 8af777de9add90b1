// EventLog: everything that a launcher did and saw, as JSON lines with CLOCK_MONOTONIC times; for evaluation
// afterwards. Each line is one write, so the file is whole up to the last line whenever the launcher ends. Threading:
// one thread.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"

namespace regroup::launch {

class EventLog {
 public:
  EventLog() = default;                                   // writes nothing
  static Result<EventLog> open(const std::string& path);  // kSystem; an old file is emptied
  // {"time_ns": at, "event": name, ...fields}. A failed write (disk full) is told once on stderr.
  void write(Instant at, const char* name, const nlohmann::json& fields);

 private:
  Fd fd_;
  bool failed_ = false;
};

}  // namespace regroup::launch

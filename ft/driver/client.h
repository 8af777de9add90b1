// Short questions to a coordinator from a process that is no member: status, and a launcher's report of a death.
//
// Blocking, bounded by `bound` in all; a connection for each call. kUnavailable: nobody answers (where, and why);
// kRefused: wrong secret, group or version.
#pragma once

#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace regroup {

struct CoordinatorAddress {
  std::string where;  // host:port
  std::string group;  // empty: whichever it serves (status only)
  std::string secret;
};

// JSON as of coordinator_status.cc.
[[nodiscard]] Result<std::string> fetch_status(const CoordinatorAddress& to, Duration bound);
// The incarnation's death is certain (its word, or waitpid). Unknown ones are ignored there.
[[nodiscard]] Status report_death(const CoordinatorAddress& to, const Incarnation& who, Duration bound);

}  // namespace regroup

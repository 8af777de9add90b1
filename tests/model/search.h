// Search: breadth-first over all states, then which of them can still reach a goal by steps that are no faults.
// A state is kept whole only until its successors are known. After that it is a 64-bit signature (the same for states
// that differ in the members' names alone), its parent, and its steps that are no faults: about 32 bytes in all.
// Two states with one signature would be taken for one: at 400 million states the chance that this happens at all is
// below 0.5 %. The first violation found has a shortest trace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/model/world.h"

namespace regroup::model {

struct Limits {
  std::size_t max_states = 400'000'000;  // about 13 GiB
  double max_seconds = 0;                // 0: none
  bool quiet = false;                    // no progress on stderr
};

struct Found {
  std::string what;  // the violation, or "stuck"
  std::vector<std::string> trace;
};

struct Verdict {
  std::size_t states = 0;
  std::size_t steps = 0;
  std::size_t depth = 0;  // cut short: all shorter histories were seen
  std::size_t goals = 0;
  std::size_t violations = 0;
  std::size_t stuck = 0;
  bool complete = true;  // false: a limit was reached, or a violation ended the search
  double seconds = 0;
  std::vector<Found> found;  // the first violation, or the first stuck state
};

Verdict explore(World& world, const Limits& limits);

}  // namespace regroup::model

// Search: breadth-first over all states, then which of them can still reach a goal by steps that are no faults.
// Every state is kept (a few numbers each) and recognised by a 64-bit signature, which is the same for states that
// differ in the members' names alone. The first violation found has a shortest trace.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/model/world.h"

namespace regroup::model {

struct Limits {
  std::size_t max_states = 60'000'000;
  bool quiet = false;  // no progress on stderr
};

struct Found {
  std::string what;  // the violation, or "stuck"
  std::vector<std::string> trace;
};

struct Verdict {
  std::size_t states = 0;
  std::size_t steps = 0;
  std::size_t depth = 0;
  std::size_t goals = 0;
  std::size_t violations = 0;
  std::size_t stuck = 0;
  bool complete = true;  // false: max_states was reached, or a violation ended the search
  double seconds = 0;
  std::vector<Found> found;  // the first violation, or the first stuck state
};

Verdict explore(World& world, const Limits& limits);

}  // namespace regroup::model

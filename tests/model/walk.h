// Walks: four random histories for each seed, longer and with more at once than a search can cover: up to 4 members, 4
// ops, 8 failures and 4 asked changes. The world itself (members, a joiner, the plane, the window, marks, which
// failures there are, who is slow, who hears late) is drawn from the seed. First any steps; then steps that are no
// faults, by which the end must be reached. The same seed makes the same walk. These are samples: they say nothing of
// what they did not meet.
#pragma once

#include <cstdint>

#include "tests/model/search.h"

namespace regroup::model {

struct Walks {
  std::uint64_t first = 0, end = 0;  // seeds
  std::size_t steps = 300;           // at most, with faults
  std::size_t patience = 5000;       // steps without any, in which the end must be reached
};

// Ends with the first seed that finds something: `seed` says which, `bounds` what it drew.
Verdict walk(const Walks& walks, std::uint64_t& seed, Bounds& bounds);

}  // namespace regroup::model

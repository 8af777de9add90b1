// Evicts a member that is well: somebody says for certain that it is dead.
#pragma once

#include "tests/conformance/world.h"

namespace regroup::conformance {

// kTimeout, kUnavailable: nobody hears it. The member finds out by itself.
Status evict(const World& world, int rank);

}  // namespace regroup::conformance

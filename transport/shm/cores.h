// Which cores the members of a host have together: ranks exceed cores where they are more than these.
#pragma once

#include <span>

#include "transport/shm/words.h"

namespace regroup::shm {

// Adds the cores that the calling thread may run on.
void add_own_cores(CoreLine& mine);
// How many there are among all of them; at least 1.
[[nodiscard]] std::size_t count_cores(std::span<const CoreLine* const> members);

}  // namespace regroup::shm

// What a process holds in memory: its proportional share (pages shared by n processes count 1/n in each), so the sum over
// the ranks of a run counts every page once.
#pragma once

#include <cstddef>

namespace regroup::bench {

// 0: the kernel does not tell.
std::size_t resident_share_bytes();

}  // namespace regroup::bench

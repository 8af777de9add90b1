// The parent of `--ranks N`: starts a coordinator and N copies of this program, waits, reports who failed.
#pragma once

#include <string>
#include <vector>

namespace regroup::bench {

// True in a process that run_ranks started.
bool is_started_rank();

// Exit status of the whole: 0 if all ranks ended well. When one fails the others get a few seconds, then are ended.
int run_ranks(const std::string& program, int ranks, const std::vector<std::string>& command);

}  // namespace regroup::bench

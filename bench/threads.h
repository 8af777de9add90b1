// `--threads N`: the ranks as threads of this process, a group each, on a coordinator of its own.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "bench/probe.h"
#include "regroup/regroup.h"

namespace regroup::bench {

// What a rank that is a thread is given; one that is a process finds it in its environment. Owned by run_threads().
struct ThreadRank {
  Options options;              // rank, world size, coordinator
  Probe* probe = nullptr;       // of rank 0, forked before there were threads; may be null
  std::size_t before_bytes = 0;  // held by the process then
};

// `rank`: one rank, on a thread of its own; its exit status. 0 if all ended well. When one fails the others get a few seconds;
// then the process ends with status 1, for a thread cannot be ended.
int run_threads(const std::string& program, int threads, bool probe, const std::function<int(const ThreadRank&)>& rank);

}  // namespace regroup::bench

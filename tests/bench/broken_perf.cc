// An all_reduce_perf whose all-reduce is wrong in the way that BROKEN says: what the driver must see.
//   element: one bit of one element at rank 1; stale: every call gives the first call's result again.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "bench/driver.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

Result<Outcome> broken_run(const Call& call) {
  const std::string how = std::getenv("BROKEN") != nullptr ? std::getenv("BROKEN") : "";
  const std::size_t bytes = call.count * size_of(call.type);
  auto outcome = find_collective("all_reduce")->run(call);
  if (!outcome.ok() || how.empty()) return outcome;
  auto* const out = static_cast<char*>(call.here(call.out));
  if (call.side != nullptr)
    if (Status s = call.side->fetch(call.out, bytes); !s.ok()) return s.error();
  if (how == "element" && call.view->self == 1) out[bytes - 1] ^= 1;
  if (how == "stale") {
    thread_local std::vector<char> first;
    if (first.empty()) first.assign(out, out + bytes);
    std::memcpy(out, first.data(), bytes);
  }
  if (call.side != nullptr)
    if (Status s = call.side->put(call.out, bytes); !s.ok()) return s.error();
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  Collective broken = *find_collective("all_reduce");
  broken.program = "broken_perf";
  broken.run = broken_run;
  return run_benchmark(broken, argc, argv);
}

#include "bench/collectives/list.h"

#include <string>

namespace regroup::bench {

std::span<const Collective* const> all_collectives() {
  static constexpr const Collective* kAll[] = {&kAllReduce, &kAllGather, &kBroadcast, &kReduceScatter, &kReduce,
                                               &kAllToAll,  &kScatter,   &kGather,    &kSendRecv};
  return kAll;
}

const Collective* find_collective(std::string_view name) {
  for (const Collective* each : all_collectives()) {
    if (name == each->program || std::string(name) + "_perf" == each->program) return each;
  }
  return nullptr;
}

}  // namespace regroup::bench

// alltoall_perf: block j of each member's input becomes its block in member j's output.
#include "bench/collectives/list.h"
#include "bench/collectives/shapes.h"

namespace regroup::bench {

const Collective kAllToAll = {
    .program = "alltoall_perf",
    .reduces = false,
    .rooted = false,
    .cuttable = false,
    .count = block_count,
    .shape = [](std::size_t count, std::size_t ranks, std::size_t) -> Shape {
      return {count * ranks, count * ranks, 0, 0};
    },
    .bus_factor = others_factor,
    .parts = [](std::size_t count, std::size_t ranks, std::size_t self,
                std::size_t) { return block_of_each(count, ranks, self * count); },
    .run = [](const Call& c) { return c.group->all_to_all(c.in, c.out, c.count, c.type, c.options()); },
    .start = [](const Call& c) { return c.group->all_to_all_async(c.in, c.out, c.count, c.type, c.options()); },
};

}  // namespace regroup::bench

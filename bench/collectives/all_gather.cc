// all_gather_perf: every member gives a block of `count` elements and gets all blocks.
#include "bench/collectives/list.h"
#include "bench/collectives/shapes.h"

namespace regroup::bench {

const Collective kAllGather = {
    .program = "all_gather_perf",
    .reduces = false,
    .rooted = false,
    .cuttable = false,
    .count = block_count,
    .shape = gather_shape,
    .bus_factor = others_factor,
    .parts = [](std::size_t count, std::size_t ranks, std::size_t,
                std::size_t) { return block_of_each(count, ranks, 0); },
    .run = [](const Call& c) { return c.group->all_gather(c.in, c.out, c.count, c.type, c.options()); },
    .start = [](const Call& c) { return c.group->all_gather_async(c.in, c.out, c.count, c.type, c.options()); },
};

}  // namespace regroup::bench

// gather_perf: every member's block of `count` elements, at the root.
#include "bench/collectives/list.h"
#include "bench/collectives/shapes.h"

namespace regroup::bench {

const Collective kGather = {
    .program = "gather_perf",
    .reduces = false,
    .rooted = true,
    .cuttable = false,
    .count = block_count,
    .shape = gather_shape,
    .bus_factor = others_factor,
    .parts = [](std::size_t count, std::size_t ranks, std::size_t self,
                std::size_t root) { return self == root ? block_of_each(count, ranks, 0) : std::vector<Part>{}; },
    .run = [](const Call& c) { return c.group->gather(c.in, c.out, c.count, c.type, c.root, c.options()); },
    .start = [](const Call& c) { return c.group->gather_async(c.in, c.out, c.count, c.type, c.root, c.options()); },
};

}  // namespace regroup::bench

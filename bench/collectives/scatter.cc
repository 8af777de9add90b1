// scatter_perf: block j of the root's input to member j.
#include "bench/collectives/list.h"
#include "bench/collectives/shapes.h"

namespace regroup::bench {

const Collective kScatter = {
    .program = "scatter_perf",
    .reduces = false,
    .rooted = true,
    .cuttable = false,
    .count = block_count,
    .shape = scatter_shape,
    .bus_factor = others_factor,
    .parts = [](std::size_t count, std::size_t, std::size_t self, std::size_t root) -> std::vector<Part> {
      return {{0, count, self * count, root}};
    },
    .run = [](const Call& c) { return c.group->scatter(c.in, c.out, c.count, c.type, c.root, c.options()); },
    .start = [](const Call& c) { return c.group->scatter_async(c.in, c.out, c.count, c.type, c.root, c.options()); },
};

}  // namespace regroup::bench

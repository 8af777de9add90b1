// reduce_scatter_perf: every member gets its block of `count` elements of the reduction.
#include "bench/collectives/list.h"
#include "bench/collectives/shapes.h"

namespace regroup::bench {

const Collective kReduceScatter = {
    .program = "reduce_scatter_perf",
    .reduces = true,
    .rooted = false,
    .cuttable = false,
    .count = block_count,
    .shape = scatter_shape,
    .bus_factor = others_factor,
    .parts = [](std::size_t count, std::size_t, std::size_t self, std::size_t) -> std::vector<Part> {
      return {{0, count, self * count, Part::kFold}};
    },
    .run = [](const Call& c) { return c.group->reduce_scatter(c.in, c.out, c.count, c.type, c.op.op, c.options()); },
    .start = [](const Call& c) { return c.group->reduce_scatter_async(c.in, c.out, c.count, c.type, c.op.op, c.options()); },
};

}  // namespace regroup::bench

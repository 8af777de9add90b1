// reduce_perf: the reduction of everybody's `count` elements, at the root alone.
#include "bench/collectives/list.h"
#include "bench/collectives/shapes.h"

namespace regroup::bench {

const Collective kReduce = {
    .program = "reduce_perf",
    .reduces = true,
    .rooted = true,
    .cuttable = true,
    .cut_inside = true,
    .count = whole_count,
    .shape = equal_shape,
    .bus_factor = full_factor,
    .parts = [](std::size_t count, std::size_t, std::size_t self, std::size_t root) -> std::vector<Part> {
      if (self != root) return {};
      return {{0, count, 0, Part::kFold}};
    },
    .run = [](const Call& c) { return c.group->reduce(c.in, c.out, c.count, c.type, c.op.op, c.root, c.options()); },
    .start = [](const Call& c) { return c.group->reduce_async(c.in, c.out, c.count, c.type, c.op.op, c.root, c.options()); },
};

}  // namespace regroup::bench

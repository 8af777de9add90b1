// all_reduce_perf: every member gives `count` elements and gets their reduction.
#include "bench/collectives/list.h"
#include "bench/collectives/shapes.h"

namespace regroup::bench {

const Collective kAllReduce = {
    .program = "all_reduce_perf",
    .reduces = true,
    .rooted = false,
    .cuttable = true,
    .cut_inside = true,
    .bounded_by_copies = true,
    .count = whole_count,
    .shape = equal_shape,
    .bus_factor = [](std::size_t ranks) { return 2 * others_factor(ranks); },
    .parts = [](std::size_t count, std::size_t, std::size_t, std::size_t) -> std::vector<Part> {
      return {{0, count, 0, Part::kFold}};
    },
    .run = [](const Call& c) { return c.group->all_reduce(c.in, c.out, c.count, c.type, c.op.op, c.options()); },
    .start = [](const Call& c) { return c.group->all_reduce_async(c.in, c.out, c.count, c.type, c.op.op, c.options()); },
};

}  // namespace regroup::bench

// broadcast_perf: the root's buffer to everybody's. Out of place the root gives its input buffer and the others take
// into their output, as with ncclBcast: the root's own output is not written.
#include "bench/collectives/list.h"
#include "bench/collectives/shapes.h"

namespace regroup::bench {
namespace {

void* buffer_of(const Call& c) {
  const bool is_root = c.view->members[c.view->self] == c.root;
  return is_root ? const_cast<void*>(c.in) : c.out;
}

}  // namespace

const Collective kBroadcast = {
    .program = "broadcast_perf",
    .reduces = false,
    .rooted = true,
    .cuttable = true,
    .cut_inside = true,
    .count = whole_count,
    .shape = equal_shape,
    .bus_factor = full_factor,
    .parts = [](std::size_t count, std::size_t, std::size_t self, std::size_t root) -> std::vector<Part> {
      if (self == root) return {};
      return {{0, count, 0, root}};
    },
    .run = [](const Call& c) { return c.group->broadcast(buffer_of(c), c.count, c.type, c.root, c.options()); },
    .start = [](const Call& c) { return c.group->broadcast_async(buffer_of(c), c.count, c.type, c.root, c.options()); },
};

}  // namespace regroup::bench

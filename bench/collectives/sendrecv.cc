// sendrecv_perf: a ring shift. Every member gives `count` elements to the next and takes those of the one before.
#include "bench/collectives/list.h"
#include "bench/collectives/shapes.h"

namespace regroup::bench {
namespace {

MemberId neighbour(const Call& c, std::size_t distance) {
  return c.view->members[(c.view->self + distance) % c.view->size()];
}

}  // namespace

const Collective kSendRecv = {
    .program = "sendrecv_perf",
    .reduces = false,
    .rooted = false,
    .cuttable = true,
    .count = whole_count,
    .shape = equal_shape,
    .bus_factor = full_factor,
    .parts = [](std::size_t count, std::size_t ranks, std::size_t self, std::size_t) -> std::vector<Part> {
      return {{0, count, 0, (self + ranks - 1) % ranks}};
    },
    .run =
        [](const Call& c) {
          return c.group->send_recv(c.in, c.count, neighbour(c, 1), c.out, c.count, neighbour(c, c.view->size() - 1),
                                    c.type, c.options());
        },
    .start =
        [](const Call& c) {
          return c.group->send_recv_async(c.in, c.count, neighbour(c, 1), c.out, c.count,
                                          neighbour(c, c.view->size() - 1), c.type, c.options());
        },
};

}  // namespace regroup::bench

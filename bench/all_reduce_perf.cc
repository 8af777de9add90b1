// all_reduce_perf: every member gives `count` elements and gets their reduction. Bus bandwidth factor 2(n-1)/n.
#include "bench/collective.h"
#include "bench/driver.h"

using namespace regroup;
using namespace regroup::bench;

int main(int argc, char** argv) {
  const Collective all_reduce = {
      .program = "all_reduce_perf",
      .reduces = true,
      .count = [](std::size_t bytes, std::size_t type_size, std::size_t) { return bytes / type_size; },
      .in_elements = [](std::size_t count, std::size_t) { return count; },
      .out_elements = [](std::size_t count, std::size_t) { return count; },
      .in_place_offset = [](std::size_t, std::size_t, std::size_t) { return std::size_t{0}; },
      .bus_factor = [](std::size_t ranks) { return 2.0 * static_cast<double>(ranks - 1) / static_cast<double>(ranks); },
      .run = [](const Call& c) { return c.group->all_reduce(c.in, c.out, c.count, c.type, c.op); },
      .start = [](const Call& c) { return c.group->all_reduce_async(c.in, c.out, c.count, c.type, c.op); },
      .fill = [](const Pattern& pattern, std::uint32_t rank, std::size_t, void* in,
                 std::size_t count) { fill(pattern, rank, in, count); },
      .wrong = [](const Pattern& pattern, std::span<const std::uint32_t> contributors, std::uint32_t, const void* out,
                  std::size_t count) { return count_wrong(pattern, contributors, out, count); },
  };
  return run_benchmark(all_reduce, argc, argv);
}

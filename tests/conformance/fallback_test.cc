// A member that cannot map a peer's segment: the group goes on over the network, and no op is lost.
#include <catch2/catch.hpp>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

// Rank 1 maps no segment from the n-th on. With 3 members the first two are the peers' words pages.
World::Tweak unmappable_from(int n) {
  return [n](int rank, Options& options) {
    if (rank == 1) options.failpoints = "map_segment#" + std::to_string(n) + "=fail";
  };
}

}  // namespace

TEST_CASE("where a peer's segment cannot be mapped, the group falls back to the network, and no op is lost") {
  const bool at_once = GENERATE(true, false);  // no segment at all; or all but the words pages
  CAPTURE(at_once);
  World world("auto", 3, unmappable_from(at_once ? 1 : 3));
  REQUIRE(world.start() == "");
  CHECK(world.at(0).view().transport == "shm");  // the names say one host; mapping has the last word
  Run run;
  run.count = 100'000;  // large: peers' scratch must be mapped
  run.ops = 6;
  const auto histories = World::each(world.ranks(), [&](int rank) { return run_ops(world.at(rank), rank, run); });
  CHECK(disagreement(histories) == "");
  for (int rank : world.ranks()) {
    const ViewInfo view = world.at(rank).view();
    CHECK(view.transport == "tcp");
    CHECK(view.members.size() == 3);  // nobody was evicted for it
    CHECK(histories[static_cast<std::size_t>(rank)].back().contributors.size() == 3);
  }
  // The ban lasts: the next view change does not try shared memory again.
  world.drop(2);
  run.first = 7;
  const auto later = World::each({0, 1}, [&](int rank) { return run_ops(world.at(rank), rank, run); });
  CHECK(disagreement(later) == "");
  CHECK(world.at(0).view().transport == "tcp");
  CHECK(world.at(0).view().members.size() == 2);
}

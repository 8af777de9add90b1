// The simulator judged: deterministic, without violation, and its faults and its recoveries really happen.
#include <algorithm>
#include <catch2/catch.hpp>

#include "ft/sim/simulate.h"

using namespace regroup;
using namespace regroup::sim;

TEST_CASE("the same seed gives the same history, byte for byte") {
  const std::uint64_t seed = GENERATE(range(0, 12));
  SimOptions options;
  std::string first, second;
  const RunReport a = simulate(seed, options, &first), b = simulate(seed, options, &second);
  CHECK(first == second);
  CHECK(!first.empty());
  CHECK(a.events == b.events);
}

TEST_CASE("other seeds give other histories") {
  SimOptions options;
  std::string first, second;
  (void)simulate(1, options, &first), (void)simulate(2, options, &second);
  CHECK(first != second);
}

TEST_CASE("500 seeds break no guarantee, and every kind of fault and of recovery is among them") {
  SimOptions options;
  options.last = 500;
  const Totals totals = simulate_all(options);
  for (const Violation& v : totals.violations) FAIL_CHECK("seed " << v.seed << ": " << v.what << "\n  " << replay_command(v.seed, options));
  CHECK(totals.seeds == 500);
  for (std::size_t i = 0; i < kFaultKinds; ++i) {
    CAPTURE(name_of(static_cast<FaultKind>(i)));
    CHECK(totals.runs_with[i] > 5);
  }
  CHECK(totals.redos > 500);
  CHECK(totals.joins > 100);
  CHECK(totals.joins_in_change > 20);
  CHECK(totals.joins_of_two > 20);
  CHECK(totals.snapshots_again > 20);
  CHECK(totals.failures > 100);
  CHECK(totals.messages > 20'000);
  CHECK(totals.messages_failed > 500);
  CHECK(totals.lost < 50);
}

TEST_CASE("groups of every size from 3 to 16 end their program") {
  SimOptions options;
  options.members = GENERATE(range(3u, 17u));
  options.steps = 20;
  options.last = 10;
  CHECK(simulate_all(options).violations.empty());
}

TEST_CASE("a broken rule of the data side is seen, and the report names the guarantee") {
  SimOptions options;
  options.bug = DataBug::kOwnShard;
  options.last = 1000;
  options.stop_after = 1;
  options.threads = 1;
  const Totals totals = simulate_all(options);
  REQUIRE(totals.violations.size() == 1);
  CHECK((totals.violations[0].what.starts_with("G1: ") || totals.violations[0].what.starts_with("G2: ")));
  CHECK(replay_command(7, options) == "regroup sim --seeds 7:8 --steps 50 --history FILE");
}

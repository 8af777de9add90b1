// The coordinator away and back; views that are too small.
#include <atomic>
#include <catch2/catch.hpp>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

TEST_CASE(
    "ops commit without a coordinator; once it is back on its log, epoch and log id go on and a death is handled") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto all_run = [&](const std::vector<int>& ranks, OpId first) {
    return World::each(
        ranks, [&](int rank) { return run_ops(world.at(rank), rank, {.count = 3'000, .first = first, .ops = 10}); });
  };
  REQUIRE(disagreement(all_run(world.ranks(), 1)) == "");
  const ViewInfo before = world.at(0).view();
  const LogId log = world.log_id();
  world.stop_coordinator();
  const auto without = all_run(world.ranks(), 11);
  CHECK(disagreement(without) == "");
  CHECK(without[0].back().epoch == before.epoch);
  const Status back = world.start_coordinator();
  CAPTURE(back.error().detail);
  REQUIRE(back.ok());
  CHECK(world.log_id() == log);
  world.at(1).detach();
  const auto after = all_run({0, 2}, 21);
  CHECK(disagreement(after) == "");
  CHECK(after[0].back().epoch == before.epoch + 1);
  CHECK(after[0].back().contributors == std::vector<std::uint32_t>{0, 2});
  CHECK(world.at(2).view().log == log);
}

TEST_CASE("a death while no coordinator is there waits for it and costs no op") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string point = GENERATE(as<std::string>{}, "after_first_chunk", "after_prepared");
  World world(transport, 3, [&](int rank, Options& options) {
    if (rank == 0) options.failpoints = point + "#3=call";
  });
  REQUIRE(world.start() == "");
  world.stop_coordinator();
  std::atomic<bool> died{false};
  Status back;
  std::thread keeper([&] {  // it comes back when the death has happened
    (void)eventually([&] { return died.load(); });
    back = world.start_coordinator();
  });
  const auto histories = World::each(world.ranks(), [&](int rank) {
    History history = run_ops(world.at(rank), rank, {.count = 3'000, .first = 1, .ops = 8});
    if (rank == 0) died.store(true);
    return history;
  });
  keeper.join();
  CHECK(back.ok());
  CHECK(disagreement({histories[1], histories[2]}) == "");
  CHECK(histories[1].back().contributors == std::vector<std::uint32_t>{1, 2});
  CHECK(histories[0].back().code == Code::kClosed);
}

TEST_CASE("with no coordinator for too long an op that needs one ends with kUnavailable, buffers untouched") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, [](int, Options& options) { options.unavailable_timeout_s = 0.4; });
  REQUIRE(world.start() == "");
  world.stop_coordinator();
  world.at(1).detach();
  const Seen seen = one_op(world.at(0), 0, 1, 5'000);
  CHECK(code_name(seen.code) == std::string("kUnavailable"));
  CHECK(seen.wrong == "");
  CHECK(code_name(one_op(world.at(0), 0, 2).code) == std::string("kUnavailable"));
}

TEST_CASE("below min_members ops wait, and end with kUnavailable after the bound") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3, [](int rank, Options& options) {
    options.min_members = 2;
    options.unavailable_timeout_s = 0.4;
    const char* at[] = {"", "after_commit#3=call", "after_commit#3=call"};
    options.failpoints = at[rank];
  });
  REQUIRE(world.start() == "");
  const auto histories = World::each(
      world.ranks(), [&](int rank) { return run_ops(world.at(rank), rank, {.count = 100, .first = 1, .ops = 8}); });
  REQUIRE(histories[0].size() >= 4);
  CHECK(histories[0].back().code == Code::kUnavailable);
  CHECK(histories[0].back().wrong == "");
  for (std::size_t k = 0; k + 1 < histories[0].size(); ++k) CHECK(histories[0][k].contributors.size() >= 2);
}

TEST_CASE("below min_members ops wait for a joiner, then commit with it") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, [](int, Options& options) { options.min_members = 2; });
  REQUIRE(world.start() == "");
  const auto first = World::each(
      world.ranks(), [&](int rank) { return run_ops(world.at(rank), rank, {.count = 9, .first = 1, .ops = 3}); });
  REQUIRE(disagreement(first) == "");
  world.drop(1);
  const auto histories = World::each(world.ranks(), [&](int rank) {
    if (rank == 1) {
      const Status s = world.join(1);
      if (!s) return History{failed(s)};
    }
    return run_ops(world.at(rank), rank, {.count = 9, .first = 4, .ops = 3});
  });
  CHECK(disagreement(histories) == "");
  CHECK(histories[0][0].contributors.size() == 2);
}

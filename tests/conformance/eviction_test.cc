// An eviction is told before anything is begun in the next life.
#include <atomic>
#include <catch2/catch.hpp>

#include "tests/conformance/evict.h"
#include "tests/conformance/payload.h"

using namespace regroup;
using namespace regroup::conformance;

TEST_CASE("what a member submits before it was told of its eviction ends as evicted too, though it is back by then") {
  const std::string transport = GENERATE(from_range(transports()));
  std::uint64_t ins[3] = {1, 1, 1}, outs[3] = {};  // outlive the world, and an op that is still pending then
  World world(transport, 3, [](int, Options& o) { o.wait_timeout_s = 10; });
  REQUIRE(world.start() == "");
  const auto step = [&](int rank) {
    std::uint64_t& out = outs[rank] = 0;
    const auto got = world.at(rank).all_reduce(&ins[rank], &out, 1, DataType::kU64, ReduceOp::kSum);
    return got.ok() ? std::to_string(out) + " of " + std::to_string(got->contributors()) : got.error().detail;
  };
  CHECK(World::each(world.ranks(), step) == std::vector<std::string>(3, "3 of 3"));

  Group& evicted = world.at(2);
  const Epoch before = evicted.view().epoch;
  std::uint64_t in[3] = {7, 8, 9}, out[3] = {};
  const auto submit = [&](int i) { return evicted.all_reduce_async(&in[i], &out[i], 1, DataType::kU64, ReduceOp::kSum); };
  Work first = submit(0);
  REQUIRE(evict(world, 2).ok());
  const auto come_back = [&]() -> std::string {
    if (!eventually([&] { return evicted.view().epoch > before; })) return "not back";
    Work second = submit(1);  // its caller still counts the steps of the life that is over
    const Code codes[] = {first.wait().code(), second.wait().code()};
    if (codes[0] != Code::kEvicted || codes[1] != Code::kEvicted)
      return std::string(code_name(codes[0])) + " " + code_name(codes[1]);
    if (out[0] != 0 || out[1] != 0) return "an output was touched";
    return step(2);
  };
  std::atomic<bool> over{false};
  const auto results = World::each(world.ranks(), [&](int rank) -> std::string {
    if (rank == 2) {
      std::string got = come_back();
      over = true;
      return got;
    }
    // Without it, until it is back. Not before it is out, else its first op commits; a step that fails ends it, else each
    // would take its time-out.
    if (!eventually([&] { return world.at(rank).view().epoch > before; })) return "nobody was evicted";
    std::string got = "2 of 2";
    while (got == "2 of 2" && !over) got = step(rank);
    return got;
  });
  CHECK(results == std::vector<std::string>(3, "3 of 3"));
}

TEST_CASE("the state of a member that was evicted while it was outside the library is left alone until it calls") {
  const std::string transport = GENERATE(from_range(transports()));
  std::uint64_t states[3] = {};
  World world(transport, 3, [&](int rank, Options& o) { o.state = {{"counter", &states[rank], 8}}; });
  REQUIRE(world.start() == "");
  std::uint64_t ins[3] = {1, 1, 1}, outs[3] = {};
  const auto step = [&](int rank) -> std::string {
    const auto got = world.at(rank).all_reduce(&ins[rank], &outs[rank], 1, DataType::kU64, ReduceOp::kSum);
    if (!got.ok()) return code_name(got.code());
    states[rank] += 100;
    return std::to_string(got->contributors());
  };
  CHECK(World::each(world.ranks(), step) == std::vector<std::string>(3, "3"));
  const Epoch before = world.at(2).view().epoch;
  REQUIRE(evict(world, 2).ok());
  const auto results = World::each(world.ranks(), [&](int rank) -> std::string {
    if (rank != 2) {
      if (!eventually([&] { return world.at(rank).view().epoch > before; })) return "nobody was evicted";
      std::string got = "2";
      while (got == "2") got = step(rank);  // until it is back
      return got;
    }
    states[2] = 7;  // what it is about when it is evicted
    const bool touched = eventually([&] { return states[2] != 7; }, 0.5);
    const std::string told = step(2);
    return touched ? "overwritten while it was outside" : told == "kEvicted" ? step(2) : told;
  });
  CHECK(results == std::vector<std::string>(3, "3"));
  CHECK(states[2] == states[0]);
  CHECK(states[1] == states[0]);
}

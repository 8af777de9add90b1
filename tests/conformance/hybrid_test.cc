// Members on several hosts, some of them on one: hierarchical all-reduces, and what becomes of them when a leader (the first
// member of its host) or another dies in one. Two "hosts" on one machine, by the option host_id.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

const std::string kHybrid = "hybrid:hierarchical";

// One sum of `count` floats; the plan and transport that were taken, or what is wrong.
std::vector<std::string> sums(World& world, const std::vector<int>& ranks, std::size_t count) {
  return World::each(ranks, [&](int rank) -> std::string {
    std::vector<float> in(count), out(count, -1);
    for (std::size_t i = 0; i < count; ++i) in[i] = static_cast<float>(rank + 1) * static_cast<float>(i % 97);
    const Result<Outcome> got = world.at(rank).all_reduce(in.data(), out.data(), count, DataType::kF32, ReduceOp::kSum);
    if (!got) return code_name(got.code());
    float all = 0;
    for (const MemberId& m : got->view->members) all += static_cast<float>(m.replica + 1);
    for (std::size_t i = 0; i < count; ++i)
      if (const float want = all * static_cast<float>(i % 97); out[i] != want)
        return "at " + std::to_string(i) + ": " + std::to_string(out[i]) + ", not " + std::to_string(want);
    return got->view->transport + " " + got->plan;
  });
}

}  // namespace

TEST_CASE("where some members share a host an all-reduce is folded there first, and goes across once a host") {
  const int members = GENERATE(3, 4, 5);
  World world(kHybrid, members);
  REQUIRE(world.start() == "");
  const auto all = [&](const char* what) { return std::vector<std::string>(static_cast<std::size_t>(members), what); };
  CHECK(sums(world, world.ranks(), 100'003) == all("hybrid hierarchical"));
  CHECK(sums(world, world.ranks(), 3) == all("hybrid small"));
  CHECK(sums(world, world.ranks(), 1'000'000) == all("hybrid hierarchical"));
}

TEST_CASE("a leader or another that dies in a hierarchical op costs the others none, and they go on with who is left") {
  const int victim = GENERATE(0, 2, 1, 3);
  const std::string point = GENERATE(as<std::string>{}, "after_first_chunk", "after_placed", "after_prepared", "before_copy_out");
  CAPTURE(victim, point);
  World world(kHybrid, 4, [&](int rank, Options& options) {
    if (rank == victim) options.failpoints = point + "#3=call";
  });
  REQUIRE(world.start() == "");
  const auto all = World::each(world.ranks(), [&](int rank) {
    return run_ops(world.at(rank), rank, {.count = 200'001, .first = 1, .ops = 8, .in_flight = 2});
  });
  std::vector<History> living;
  std::vector<int> left;
  for (int rank = 0; rank < 4; ++rank)
    if (rank != victim) living.push_back(all[static_cast<std::size_t>(rank)]), left.push_back(rank);
  CHECK(disagreement(living) == "");
  CHECK(all[static_cast<std::size_t>(victim)].back().code == Code::kClosed);
  for (const History& h : living)
    for (const Seen& seen : h) CHECK(seen.code == Code::kOk);
  CHECK(living[0].back().contributors.size() == 3);
  CHECK(sums(world, left, 50'000) == std::vector<std::string>(3, "hybrid hierarchical"));
}

TEST_CASE("when a host has died whole, those of the other go on in shared memory") {
  World world(kHybrid, 4);
  REQUIRE(world.start() == "");
  CHECK(sums(world, world.ranks(), 50'000) == std::vector<std::string>(4, "hybrid hierarchical"));
  for (const int rank : {2, 3}) world.at(rank).detach();
  CHECK(sums(world, {0, 1}, 50'000).size() == 2);
  REQUIRE(eventually([&] { return world.at(0).view().members.size() == 2; }));
  CHECK(sums(world, {0, 1}, 50'000) == std::vector<std::string>(2, "shm waist"));
}

TEST_CASE("members that differ in what becomes of the sum are all refused, whether on one host or across two, and go on") {
  const std::string what = GENERATE(as<std::string>{}, "average", "scaled", "count");
  const int first_odd = GENERATE(3, 2);  // one of a host, or a whole host
  CAPTURE(what, first_odd);
  World world(kHybrid, 4);
  REQUIRE(world.start() == "");
  const auto codes = World::each(world.ranks(), [&](int rank) {
    const bool odd = rank >= first_odd;
    const std::size_t count = odd && what == "count" ? 100'001 : 100'003;
    std::vector<float> in(count, 1), out(count, -1);
    const float half = 0.5f;
    OpOptions options;
    if (odd && what == "scaled") options.premultiply = &half;
    const ReduceOp op = odd && what == "average" ? ReduceOp::kAvg : ReduceOp::kSum;
    const Result<Outcome> got = world.at(rank).all_reduce(in.data(), out.data(), count, DataType::kF32, op, options);
    const bool intact = std::all_of(out.begin(), out.end(), [](float x) { return x == -1; });
    return std::string(code_name(got.code())) + (intact ? "" : ", output touched");
  });
  CHECK(codes == std::vector<std::string>(4, "kMismatch"));
  CHECK(sums(world, world.ranks(), 50'000) == std::vector<std::string>(4, "hybrid hierarchical"));
}

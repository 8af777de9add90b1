// Groups over NCCL's stand-in: what goes over it and what over links, and that whatever NCCL does or does not do, every
// op ends with the same right bits at all. The rest of the suite holds for it as for any transport.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"
#include "tests/transport_nccl/told.h"

using namespace regroup;
using namespace regroup::conformance;
using regroup::testing::Told;

namespace {

constexpr std::size_t kLarge = 20'000;  // elements of an op that NCCL takes

World::Tweak over(const std::string& file, double timeout_s = 20) {
  return [=](int, Options& options) {
    options.nccl_library = file;
    options.nccl_timeout_s = timeout_s;
  };
}

// One large op at every rank given. Empty, or what is wrong with it; `plan`: by which it went.
std::string op_at(World& world, const std::vector<int>& ranks, OpId op, std::string* plan = nullptr) {
  struct One {
    std::string wrong, plan;
    std::size_t contributors = 0;
  };
  const auto all = World::each(ranks, [&](int rank) -> One {
    std::vector<std::uint64_t> in(kLarge), out(kLarge, kPoison);
    fill(in, rank, op);
    const Result<Outcome> got =
        world.at(rank).all_reduce(in.data(), out.data(), kLarge, DataType::kU64, ReduceOp::kSum);
    if (!got) return {std::string(code_name(got.code())) + ": " + got.error().detail, "", 0};
    return {wrong_sum(*got, out, op), got->plan, got->contributors()};
  });
  for (const One& one : all) {
    if (!one.wrong.empty()) return one.wrong;
    if (one.plan != all[0].plan || one.contributors != all[0].contributors) return "members went different ways";
  }
  if (plan != nullptr) *plan = all[0].plan;
  return {};
}

// Ops until one goes by `plan`; false: within the bound none did, or one was wrong.
bool comes_to(World& world, const std::vector<int>& ranks, OpId& op, const std::string& plan) {
  std::string wrong;
  const bool came = eventually([&] {
    std::string by;
    wrong = op_at(world, ranks, ++op, &by);
    return !wrong.empty() || by == plan;
  });
  CHECK(wrong == "");
  return came && wrong.empty();
}

void kill(World& world, int rank) { world.at(rank).detach(); }

}  // namespace

TEST_CASE("large ops go over NCCL once all hold its communicator, small ones over links") {
  Told told(NCCL_STAND_IN);
  World world("nccl", 3, over(told.file()));
  REQUIRE(world.start() == "");
  CHECK(world.at(0).view().transport == "nccl");
  OpId op = 0;
  REQUIRE(comes_to(world, world.ranks(), op, "nccl"));
  const int used = told.count("kernel");
  CHECK(op_at(world, world.ranks(), ++op) == "");
  CHECK(told.count("kernel") == used + 3);
  const auto small = World::each(world.ranks(), [&](int rank) { return one_op(world.at(rank), rank, op + 1, 8); });
  CHECK(disagreement({{small[0]}, {small[1]}, {small[2]}}) == "");
  CHECK(told.count("kernel") == used + 3);
}

TEST_CASE("NCCL works on the group's own device, however late that is") {
  Told told(NCCL_STAND_IN);
  World world("nccl", 2, [&](int rank, Options& options) {
    over(told.file())(rank, options);
    options.device = "host,late_us=2000,seed=" + std::to_string(rank + 1);
  });
  REQUIRE(world.start() == "");
  OpId op = 0;
  REQUIRE(comes_to(world, world.ranks(), op, "nccl"));
  for (int i = 0; i < 20; ++i) CHECK(op_at(world, world.ranks(), ++op) == "");
  world.drop(0);  // a stream that is under way is no trouble
}

TEST_CASE("links carry the ops while a communicator is long in the making") {
  Told told(NCCL_STAND_IN, "init@1=slow:600");
  World world("nccl", 2, over(told.file()));
  REQUIRE(world.start() == "");
  std::string plan;
  OpId op = 0;
  CHECK(op_at(world, world.ranks(), ++op, &plan) == "");
  CHECK(plan == "direct");
  CHECK(comes_to(world, world.ranks(), op, "nccl"));
}

TEST_CASE("survivors of a death shrink the communicator, and make another where that is refused") {
  const std::string file = GENERATE(as<std::string>{}, NCCL_STAND_IN, NCCL_STAND_IN_227);
  const bool refused = GENERATE(false, true);
  CAPTURE(file, refused);
  Told told(file, refused ? "shrink=fail:5" : "");
  World world("nccl", 3, over(file));
  REQUIRE(world.start() == "");
  OpId op = 0;
  REQUIRE(comes_to(world, world.ranks(), op, "nccl"));
  const int made = told.count("init"), shrunk = told.count("shrink");
  kill(world, 1);
  CHECK(comes_to(world, {0, 2}, op, "nccl"));
  CHECK(world.at(0).view().size() == 2);
  CHECK(told.count("shrink") >= shrunk + 1);
  CHECK((told.count("init") > made) == refused);
}

TEST_CASE("who comes back is taken into a communicator made anew, while links carry the ops") {
  Told told(NCCL_STAND_IN);
  World world("nccl", 3, over(told.file()));
  REQUIRE(world.start() == "");
  OpId op = 0;
  REQUIRE(comes_to(world, world.ranks(), op, "nccl"));
  kill(world, 2);
  REQUIRE(comes_to(world, {0, 1}, op, "nccl"));
  world.drop(2);
  const auto joined = World::each({2}, [&](int rank) { return world.join(rank).ok(); });
  REQUIRE(joined[0]);
  CHECK(comes_to(world, world.ranks(), op, "nccl"));
  CHECK(world.at(1).view().size() == 3);
}

TEST_CASE("whatever a collective of NCCL does, its op ends right at all members, and NCCL is used again") {
  const std::string order = GENERATE(as<std::string>{}, "launch@1#1=fail:6", "launch@0#1=hang", "kernel@1#1=hang",
                                     "kernel@0#1=fail:6", "kernel@1#1=fail:3");
  CAPTURE(order);
  Told told(NCCL_STAND_IN);
  World world("nccl", 3, over(told.file(), 2));
  REQUIRE(world.start() == "");
  OpId op = 0;
  REQUIRE(comes_to(world, world.ranks(), op, "nccl"));
  told.tell(order);
  const Epoch before = world.at(0).view().epoch;
  std::string plan;
  CHECK(op_at(world, world.ranks(), ++op, &plan) == "");
  CHECK(plan == "direct");
  CHECK(world.at(0).view().epoch > before);
  CHECK(world.at(0).view().size() == 3);
  if (order.find("hang") != std::string::npos) told.tell("");
  CHECK(comes_to(world, world.ranks(), op, "nccl"));
}

TEST_CASE("a result of other bits at one member is committed by nobody, and NCCL is not used again") {
  Told told(NCCL_STAND_IN);
  World world("nccl", 3, over(told.file()));
  REQUIRE(world.start() == "");
  OpId op = 0;
  REQUIRE(comes_to(world, world.ranks(), op, "nccl"));
  told.tell("kernel@2#1=wrong");
  for (int i = 0; i < 20; ++i) {
    std::string plan;
    CHECK(op_at(world, world.ranks(), ++op, &plan) == "");
    CHECK(plan == "direct");
  }
}

TEST_CASE("calls that hang while a communicator is made cost the ops nothing") {
  const std::string order = GENERATE(as<std::string>{}, "id#1=hang", "init@1#1=hang", "init@0#1=fail:3");
  CAPTURE(order);
  Told told(NCCL_STAND_IN, order);
  World world("nccl", 2, over(told.file(), 1));
  REQUIRE(world.start() == "");
  OpId op = 0;
  std::string plan;
  CHECK(op_at(world, world.ranks(), ++op, &plan) == "");
  CHECK(plan == "direct");
  told.tell(order);  // what hung goes on, and is met once more
  CHECK(op_at(world, world.ranks(), ++op, &plan) == "");
  told.tell("");
  CHECK(comes_to(world, world.ranks(), op, "nccl"));
}

TEST_CASE("a member whose abort does not return goes, with the reason, and the others go on") {
  Told told(NCCL_STAND_IN);
  World world("nccl", 3, over(told.file(), 2));
  REQUIRE(world.start() == "");
  OpId op = 0;
  REQUIRE(comes_to(world, world.ranks(), op, "nccl"));
  told.tell("abort@1=hang");
  kill(world, 2);
  std::string why;
  const auto ends = World::each({0, 1}, [&](int rank) -> Seen {
    Seen last;
    for (OpId at = op + 1; at < op + 100'000; ++at) {
      last = one_op(world.at(rank), rank, at, kLarge);
      if (last.code != Code::kOk || (rank == 0 && last.contributors.size() == 1)) break;
    }
    return last;
  });
  CHECK(ends[0].code == Code::kOk);
  CHECK(ends[0].wrong == "");
  CHECK(ends[1].code == Code::kSystem);
  CHECK(ends[1].detail.find("abort did not return") != std::string::npos);
  told.tell("");
}

TEST_CASE("a missing, old or lacking NCCL, and one that needs a GPU, is refused when a group is joined") {
  Told told(NCCL_STAND_IN, "version=22605");
  const auto refusal = [](const std::string& file) {
    World world("nccl", 1, over(file));
    return world.start();
  };
  CHECK(refusal("/nowhere/libnccl.so.2").find("kUnsupported: transport nccl: /nowhere/libnccl.so.2") == 0);
  CHECK(refusal(told.file()).find("2.26.5") != std::string::npos);
  CHECK(refusal(NCCL_STAND_IN_LACKING).find("has no ncclCommShrink") != std::string::npos);
#ifdef REGROUP_NCCL_REAL_LIBRARY
  CHECK(refusal(REGROUP_NCCL_REAL_LIBRARY).find("needs a GPU") != std::string::npos);
#endif
}

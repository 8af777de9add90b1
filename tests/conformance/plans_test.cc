// Which plan is taken over a network: the same at all members, by the group's options and the figures they agree on.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

constexpr const char* kFigures = "net_gbps=2.5 net_msg_us=4.5 net_hop_us=3 turn_us=25 fan_loss=0.5 cores=2";

// The plan of one all-reduce of `bytes` as each member was told it.
std::vector<std::string> plans(World& world, std::size_t bytes) {
  return World::each(world.ranks(), [&](int rank) -> std::string {
    std::vector<float> in(bytes / 4, 1), out(in.size());
    const Result<Outcome> got = world.at(rank).all_reduce(in.data(), out.data(), in.size(), DataType::kF32, ReduceOp::kSum);
    if (!got) return code_name(got.code());
    for (float x : out)
      if (x != static_cast<float>(got->contributors())) return "wrong sum";
    return got->plan;
  });
}

}  // namespace

TEST_CASE("over a network all members take the plan that the figures say, by size; canonical order keeps to member order") {
  const bool canonical = GENERATE(false, true);
  World world("tcp", 4, [&](int, Options& options) {
    options.cost = kFigures;
    options.order = canonical ? "canonical" : "any";
  });
  REQUIRE(world.start() == "");
  CHECK(plans(world, 4) == std::vector<std::string>(4, "small"));
  CHECK(plans(world, 64u << 10) == std::vector<std::string>(4, canonical ? "direct" : "doubling"));
  CHECK(plans(world, 1u << 20) == std::vector<std::string>(4, canonical ? "direct" : "ring"));
  CHECK(plans(world, 16u << 20) == std::vector<std::string>(4, "direct"));
}

TEST_CASE("members that measure their machines take the same plan, whatever they measured") {
  World world("tcp", 3);
  REQUIRE(world.start() == "");
  for (const std::size_t bytes : {64u, 20'000u, 1u << 18, 1u << 20}) {
    const std::vector<std::string> told = plans(world, bytes);
    CHECK(told == std::vector<std::string>(3, told[0]));
    CHECK((told[0] == "small" || told[0] == "direct" || told[0] == "ring" || told[0] == "doubling" || told[0] == "gather"));
  }
}

TEST_CASE("of figures in a file what it says is compared, not its name") {
  std::string name = (std::filesystem::temp_directory_path() / "regroup-figures-XXXXXX").string();
  const int file = ::mkstemp(name.data());
  REQUIRE(file >= 0);
  ::close(file);
  std::ofstream(name) << "# of this cluster\n" << kFigures << "\n";
  World world("tcp", 2, [&](int rank, Options& options) { options.cost = rank == 0 ? kFigures : "@" + name; });
  CHECK(world.start() == "");
  std::filesystem::remove(name);
}

TEST_CASE("figures, order and plan that differ are refused at join") {
  World world("tcp", 2, [](int, Options& options) { options.cost = kFigures; });
  REQUIRE(world.start() == "");
  const auto again = [&](auto change) {
    Options options = world.options(1);
    options.join_timeout_s = 5;
    change(options);
    const Result<std::unique_ptr<Group>> group = Group::join(options);
    return group.code();
  };
  CHECK(again([](Options& o) { o.cost = "net_gbps=9"; }) == Code::kConfig);
  CHECK(again([](Options& o) { o.order = "canonical"; }) == Code::kConfig);
  CHECK(again([](Options& o) { o.plan = "ring"; }) == Code::kConfig);
  CHECK(again([](Options& o) { o.cost = "@/nowhere/at/all"; }) == Code::kConfig);
  CHECK(again([](Options& o) { o.cost = "speed=9"; }) == Code::kConfig);
  CHECK(again([](Options& o) { o.plan = "star"; }) == Code::kConfig);
  CHECK(again([](Options& o) { o.order = "mine"; }) == Code::kConfig);
}

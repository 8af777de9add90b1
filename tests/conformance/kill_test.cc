// Kill by detach: a member dies at a named point of an op, or at a random moment, and the others go on.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

constexpr std::size_t kOps = 12;
constexpr std::size_t kDeathAt = 4;  // in this op, from 1

struct Toll {
  std::vector<History> living, dead;
};

Toll run_with_deaths(World& world, const std::vector<int>& victims, const Run& run) {
  auto all = World::each(world.ranks(), [&](int rank) { return run_ops(world.at(rank), rank, run); });
  Toll toll;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool dies = std::find(victims.begin(), victims.end(), static_cast<int>(i)) != victims.end();
    (dies ? toll.dead : toll.living).push_back(std::move(all[i]));
  }
  return toll;
}

World::Tweak die_at(std::vector<int> victims, const std::string& point, std::size_t op = kDeathAt) {
  return [=](int rank, Options& options) {
    if (std::find(victims.begin(), victims.end(), rank) != victims.end())
      options.failpoints = point + "#" + std::to_string(op) + "=call";
  };
}

// Uniform agreement: what a member saw committed before it died is what the living committed.
std::string contradiction(const History& dead, const History& living) {
  for (std::size_t k = 0; k < dead.size(); ++k) {
    if (dead[k].code == Code::kClosed) return dead[k].wrong;
    if (dead[k].code != Code::kOk) return "op " + std::to_string(k) + ": " + code_name(dead[k].code);
    if (!dead[k].wrong.empty()) return dead[k].wrong;
    if (dead[k].digest != living[k].digest || dead[k].contributors != living[k].contributors)
      return "the dead member committed op " + std::to_string(k) + " with another result";
  }
  return "it did not die";
}

}  // namespace

TEST_CASE("a member that dies at any point of an op costs the others no op, and all commit the same bits") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string point = GENERATE(as<std::string>{}, "after_submit", "after_first_chunk", "after_placed",
                                     "after_prepared", "before_copy_out", "after_commit");
  const bool large = GENERATE(false, true);
  const int members = GENERATE(2, 4);
  if (point == "after_placed" && !large) return;  // small ops have no shards
  CAPTURE(transport, point, large, members);
  World world(transport, members, die_at({1}, point));
  REQUIRE(world.start() == "");
  const Toll toll =
      run_with_deaths(world, {1}, {.count = large ? 200'001u : 300u, .first = 1, .ops = kOps, .in_flight = 1});
  REQUIRE(disagreement(toll.living) == "");
  CHECK(contradiction(toll.dead[0], toll.living[0]) == "");
  const auto with_victim =
      static_cast<std::size_t>(std::count_if(toll.living[0].begin(), toll.living[0].end(), [&](const Seen& s) {
        return s.contributors.size() == static_cast<std::size_t>(members);
      }));
  // While a part of its contribution is missing the op must be redone without it; once it has committed it is kept.
  // Between the two the survivors decide: the whole of a small op's contribution is in its first chunk.
  const bool incomplete = point == "after_submit" || (point == "after_first_chunk" && large);
  const bool committed = point == "before_copy_out" || point == "after_commit";
  if (!committed) CHECK(with_victim >= kDeathAt - 1);
  CHECK(with_victim <= (incomplete ? kDeathAt - 1 : kDeathAt));
  if (committed) CHECK(with_victim == kDeathAt);
  // Where the victim can only have got so far after the others had begun, they must have begun twice.
  const bool begun = point == "after_prepared" || point == "after_placed" ||
                     (transport == "shm" && large && incomplete && point != "after_submit");
  // (In two "hosts" of two a shard is placed when those of the own host have begun: member 0.)
  const bool own_host = transport.starts_with("hybrid") && point == "after_placed";
  if (begun && with_victim == kDeathAt - 1)
    for (const History& h : own_host ? std::vector<History>{toll.living[0]} : toll.living) CHECK(h[kDeathAt - 1].attempts == 2);
  CHECK(toll.living[0].back().contributors.size() == static_cast<std::size_t>(members) - 1);
}

TEST_CASE("a member that dies with several ops in flight costs the others none of them") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string point =
      GENERATE(as<std::string>{}, "after_submit", "after_first_chunk", "after_prepared", "after_commit");
  CAPTURE(transport, point);
  World world(transport, 3, die_at({2}, point));
  REQUIRE(world.start() == "");
  const Toll toll = run_with_deaths(world, {2}, {.count = 20'001, .first = 1, .ops = 20, .in_flight = 5});
  CHECK(disagreement(toll.living) == "");
  CHECK(contradiction(toll.dead[0], toll.living[0]) == "");
}

TEST_CASE("two members that die in the same op are both left out, and the rest go on") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string point = GENERATE(as<std::string>{}, "after_first_chunk", "after_prepared");
  World world(transport, 4, die_at({0, 3}, point));
  REQUIRE(world.start() == "");
  const Toll toll = run_with_deaths(world, {0, 3}, {.count = 5'000, .first = 1, .ops = kOps, .in_flight = 1});
  CHECK(disagreement(toll.living) == "");
  for (const History& dead : toll.dead) CHECK(contradiction(dead, toll.living[0]) == "");
  CHECK(toll.living[0].back().contributors == std::vector<std::uint32_t>{1, 2});
}

TEST_CASE("more than half of the members die at once, and the rest go on") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 5, die_at({0, 1, 3, 4}, "after_first_chunk"));
  REQUIRE(world.start() == "");
  const Toll toll = run_with_deaths(world, {0, 1, 3, 4}, {.count = 5'000, .first = 1, .ops = kOps, .in_flight = 1});
  CHECK(disagreement(toll.living) == "");
  CHECK(toll.living[0].back().contributors == std::vector<std::uint32_t>{2});
}

TEST_CASE("a member that dies while it is wedged, or as it enters the new view, is left out in the next one") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string point = GENERATE(as<std::string>{}, "wedged#1", "installed#2");
  CAPTURE(transport, point);
  World world(transport, 4, [&](int rank, Options& options) {
    if (rank == 1) options.failpoints = "after_first_chunk#4=call";
    if (rank == 2) options.failpoints = point + "=call";
  });
  REQUIRE(world.start() == "");
  const Toll toll = run_with_deaths(world, {1, 2}, {.count = 5'000, .first = 1, .ops = kOps, .in_flight = 1});
  CHECK(disagreement(toll.living) == "");
  CHECK(toll.living[0].back().contributors == std::vector<std::uint32_t>{0, 3});
}

TEST_CASE("one after another dies until one member is left, and no op is lost") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 4, [](int rank, Options& options) {
    const char* at[] = {"after_prepared#5=call", "after_first_chunk#9=call", "after_commit#14=call", ""};
    options.failpoints = at[rank];
  });
  REQUIRE(world.start() == "");
  const Toll toll = run_with_deaths(world, {0, 1, 2}, {.count = 3'000, .first = 1, .ops = 25, .in_flight = 1});
  CHECK(disagreement(toll.living) == "");
  for (const History& dead : toll.dead) CHECK(contradiction(dead, toll.living[0]) == "");
  CHECK(toll.living[0].back().contributors == std::vector<std::uint32_t>{3});
}

TEST_CASE("a member that is detached from another thread at a random moment costs no op") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::uint64_t after = GENERATE(1, 10, 33);
  World world(transport, 3);
  REQUIRE(world.start() == "");
  std::thread killer([&] {
    (void)eventually([&] { return world.at(1).steps() >= after; });
    world.at(1).detach();
  });
  const Toll toll = run_with_deaths(world, {1}, {.count = 20'000, .first = 1, .ops = 200, .in_flight = 2});
  killer.join();
  CHECK(disagreement(toll.living) == "");
  CHECK(contradiction(toll.dead[0], toll.living[0]) == "");
}

TEST_CASE("an average divides by the number of members that contributed, also after a shrink") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 4, die_at({3}, "after_first_chunk"));
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    std::vector<double> in(101), out(101);
    for (OpId op = 1; op <= 8; ++op) {
      for (std::size_t i = 0; i < in.size(); ++i)
        in[i] = 60.0 * static_cast<double>((1 + rank * rank) * static_cast<int>(coefficient(op, i)));
      std::fill(out.begin(), out.end(), -1.0);
      const Result<Outcome> got =
          world.at(rank).all_reduce(in.data(), out.data(), in.size(), DataType::kF64, ReduceOp::kAvg);
      if (!got) return rank == 3 && got.code() == Code::kClosed ? "" : code_name(got.code());
      int sum = 0;
      for (const MemberId& id : got->view->members) sum += 1 + static_cast<int>(id.replica * id.replica);
      for (std::size_t i = 0; i < in.size(); ++i)
        if (out[i] != 60.0 * static_cast<double>(coefficient(op, i)) * sum / static_cast<double>(got->contributors()))
          return "op " + std::to_string(op) + ": wrong average";
      if (op == 8 && got->contributors() != 3) return "nobody died";
    }
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

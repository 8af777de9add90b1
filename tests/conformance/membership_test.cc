// Who is in: joins, refusals, leaves, and the state that a joiner takes.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

constexpr std::size_t kWeights = 20'000;  // u64; state of a member

// A member that trains: weights += sum of contributions, in every step. Ends when `last` steps were done by `full`
// members.
struct Trainer {
  std::vector<std::uint64_t> weights = std::vector<std::uint64_t>(kWeights);
  std::uint64_t counter = 0;

  void register_in(Options& options) {
    options.state = {{"weights", weights.data(), weights.size() * sizeof weights[0]},
                     {"counter", &counter, sizeof counter}};
  }
  // Empty, or what is wrong.
  std::string run(Group& group, int rank, std::size_t full, int last) {
    for (int with_all = 0, steps = 0; with_all < last; ++steps) {
      if (steps > 200'000) return "the others never came";
      std::vector<std::uint64_t> gradient(kWeights);
      fill(gradient, rank, counter);
      const Result<Outcome> got =
          group.all_reduce(gradient.data(), gradient.data(), kWeights, DataType::kU64, ReduceOp::kSum);
      if (!got) return std::string(code_name(got.code())) + " " + got.error().detail;
      if (std::string w = wrong_sum(*got, gradient, counter); !w.empty()) return w;
      for (std::size_t i = 0; i < kWeights; ++i) weights[i] += gradient[i];
      ++counter;
      if (group.steps() != counter)
        return "steps() is " + std::to_string(group.steps()) + " after step " + std::to_string(counter);
      if (got->contributors() == full) ++with_all;
    }
    return {};
  }
};

World::Tweak registering(std::vector<Trainer>& trainers) {
  return [&](int rank, Options& options) { trainers[static_cast<std::size_t>(rank)].register_in(options); };
}

}  // namespace

TEST_CASE("a member that leaves costs nobody an op, and its own leave is bounded") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto histories = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    if (rank == 2) {
      History mine = run_ops(group, rank, {.count = 3'000, .first = 1, .ops = 7});
      if (const Status left = group.leave(kBound_s); !left) mine.push_back(failed(left));
      return mine;
    }
    History all;
    for (OpId op = 1; all.size() < 12 || all[all.size() - 5].contributors.size() == 3; ++op) {
      all.push_back(one_op(group, rank, op, 3'000));
      if (all.back().code != Code::kOk || all.size() > 100'000) break;
    }
    return all;
  });
  CHECK(disagreement({histories[0], histories[1]}) == "");
  CHECK(disagreement({histories[2]}) == "");
  CHECK(histories[0].back().contributors == std::vector<std::uint32_t>{0, 1});
  CHECK(histories[2].size() == 7);
  CHECK(world.at(2).barrier().code() == Code::kClosed);
}

TEST_CASE("all members may leave at once, and one after the other") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto left = World::each(world.ranks(), [&](int rank) {
    (void)one_op(world.at(rank), rank, 1);
    return world.at(rank).leave(kBound_s).code();
  });
  for (const Code code : left) CHECK(code_name(code) == std::string("kOk"));
}

TEST_CASE("a late joiner gets the registered state bit for bit, and contributes from the first op of a step") {
  const std::string transport = GENERATE(from_range(transports()));
  std::vector<Trainer> trainers(3);
  std::atomic<int> restored{0};
  World world(transport, 3, [&](int rank, Options& options) {
    trainers[static_cast<std::size_t>(rank)].register_in(options);
    options.on_restored = [&] { restored.fetch_add(1); };
  });
  REQUIRE(world.start() == "");
  CHECK(restored.load() == 0);
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    Trainer& me = trainers[static_cast<std::size_t>(rank)];
    if (std::string w = me.run(world.at(rank), rank, 3, 5); !w.empty()) return w;
    if (rank == 2) {
      world.drop(2);
      me.weights.assign(kWeights, kPoison);
      me.counter = kPoison;
      Options again = world.options(2);
      if (const Status s = world.join(2, again); !s)
        return std::string("join: ") + code_name(s.error().code) + " " + s.error().detail;
      if (world.at(2).last_restore_s() <= 0) return "no restore time";
    }
    return me.run(world.at(rank), rank, 3, 6);
  });
  for (const std::string& w : wrong) CHECK(w == "");
  for (const int rank : {1, 2}) {
    CHECK(trainers[static_cast<std::size_t>(rank)].counter == trainers[0].counter);
    CHECK(trainers[static_cast<std::size_t>(rank)].weights == trainers[0].weights);
    CHECK(world.at(rank).steps() == world.at(0).steps());
  }
  CHECK(world.at(0).last_restore_s() == 0);
  CHECK(restored.load() <= 1);
}

// Who has registered nothing has nothing to be at rest: nobody has to begin an op, or to be inside a call, for a member to
// come back.
TEST_CASE("an idle group without registered state is entered while nobody calls anything") {
  const std::string transport = GENERATE(from_range(transports()));
  const OpId before = GENERATE(OpId{0}, OpId{3});
  const bool killed = GENERATE(false, true);
  CAPTURE(transport, before, killed);
  World world(transport, 3, [](int, Options& options) { options.explicit_marks = false; });
  REQUIRE(world.start() == "");
  const auto first = World::each(world.ranks(), [&](int rank) {
    return run_ops(world.at(rank), rank, {.count = 50, .first = 1, .ops = before});
  });
  CHECK(disagreement(first) == "");
  if (killed) world.at(2).detach();
  world.drop(2);
  Options again = world.options(2);
  again.join_timeout_s = 10;
  const Status joined = world.join(2, again);  // the others are in no call of theirs
  CAPTURE(joined ? "" : joined.error().detail);
  REQUIRE(joined);
  CHECK(world.at(2).steps() == before);
  const auto next = World::each(world.ranks(), [&](int rank) {
    (void)world.at(rank).view();
    return run_ops(world.at(rank), rank, {.count = 50, .first = before + 1, .ops = 4});
  });
  CHECK(disagreement(next) == "");
  CHECK(next[0].back().contributors == std::vector<std::uint32_t>{0, 1, 2});
  CHECK(world.at(2).steps() == world.at(0).steps());
}

TEST_CASE("registered state of an idle group is handed over when its members have begun the next op, not before") {
  const std::string transport = GENERATE(from_range(transports()));
  std::vector<Trainer> trainers(2);
  World world(transport, 2, registering(trainers));
  REQUIRE(world.start() == "");
  const auto first = World::each(world.ranks(), [&](int rank) {
    return trainers[static_cast<std::size_t>(rank)].run(world.at(rank), rank, 2, 1);
  });
  for (const std::string& w : first) CHECK(w == "");
  world.drop(1);
  Options short_one = world.options(1);
  short_one.join_timeout_s = 0.7;
  CHECK(code_name(world.join(1, short_one).code()) == std::string("kTimeout"));
}

TEST_CASE("a joiner whose state has another size is refused with kConfig, and the others go on untouched") {
  const std::string transport = GENERATE(from_range(transports()));
  std::vector<Trainer> trainers(2);
  World world(transport, 2, registering(trainers));
  REQUIRE(world.start() == "");
  world.drop(1);
  std::atomic<bool> refused{false};
  Status joined;
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    if (rank == 1) {
      Options options = world.options(1);
      options.state[0].bytes -= 8;
      joined = world.join(1, options);
      refused.store(true);
      return {};
    }
    while (!refused.load())
      if (std::string w = trainers[0].run(world.at(0), 0, 1, 1); !w.empty()) return w;
    return trainers[0].run(world.at(0), 0, 1, 3);
  });
  CHECK(wrong[0] == "");
  CHECK(code_name(joined.code()) == std::string("kConfig"));
}

TEST_CASE("a configuration that differs from the others' is refused at join with kConfig") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, [](int rank, Options& options) {
    options.join_timeout_s = 3;
    if (rank == 1) options.window = 4;
  });
  const auto joined = World::each(world.ranks(), [&](int rank) { return world.join(rank).code(); });
  const auto count = [&](Code code) { return std::count(joined.begin(), joined.end(), code); };
  CHECK(count(Code::kConfig) == 1);  // who came second
  CHECK(count(Code::kTimeout) == 1);
}

TEST_CASE("options out of range are refused before anybody is asked") {
  World world(transports().front(), 1);
  Options options = world.options(0);
  options.rank = 5;
  CHECK(world.join(0, options).code() == Code::kConfig);
  options = world.options(0);
  options.window = 1'000;
  CHECK(world.join(0, options).code() == Code::kConfig);
  options = world.options(0);
  options.failpoints = "no_such_point=call";
  CHECK(world.join(0, options).code() == Code::kConfig);
}

TEST_CASE("a member of another group, or with another secret, is refused and disturbs nobody") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2);
  REQUIRE(world.start() == "");
  Options options = world.options(0);
  options.join_timeout_s = 5;
  options.group = "somebody-elses";
  CHECK(code_name(Group::join(options).code()) == std::string("kRefused"));
  options = world.options(0);
  options.join_timeout_s = 5;
  options.secret = "guess";
  CHECK(code_name(Group::join(options).code()) == std::string("kRefused"));
  const auto histories = World::each(
      world.ranks(), [&](int rank) { return run_ops(world.at(rank), rank, {.count = 10, .first = 1, .ops = 5}); });
  CHECK(disagreement(histories) == "");
  CHECK(histories[0].back().contributors.size() == 2);
}

TEST_CASE(
    "a join without a coordinator ends with kUnavailable, and without enough members with kTimeout, in its bound") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, [](int, Options& options) { options.join_timeout_s = 0.5; });
  CHECK(code_name(world.join(0).code()) == std::string("kTimeout"));
  world.stop_coordinator();
  CHECK(code_name(world.join(0).code()) == std::string("kUnavailable"));
}

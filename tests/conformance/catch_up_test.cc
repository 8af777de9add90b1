// Catch-up as an observer: a returning member fetches, journals and replays while the others train on.
#include <catch2/catch.hpp>

#include "tests/conformance/trainer.h"

using namespace regroup;
using namespace regroup::conformance;

TEST_CASE("a returning member catches up while the others change all of their state in every step, to the same bits") {
  const std::string transport = GENERATE(from_range(transports()));
  Training t(transport, 3, 40'000'000);  // the transfer takes several steps, so some are replayed
  REQUIRE(t.world.start() == "");
  const auto first = World::each(t.world.ranks(), [&](int r) { return t.of(r).run(t.world.at(r), r, 3, 5); });
  for (const std::string& f : first) REQUIRE(f == "");
  REQUIRE(t.equal());
  for (int again = 0; again < 2; ++again) {
    REQUIRE(t.lose_and_return(1, 10) == "");
    CHECK(t.equal());
    CHECK(t.of(1).replayed.load() > 0);
    CHECK(t.world.at(1).steps() == t.world.at(0).steps());
    CHECK(t.world.at(1).last_restore_s() > 0);
  }
  CHECK(t.world.at(0).state_digests() == t.world.at(1).state_digests());
}

TEST_CASE("blobs are saved at the mark and loaded before the replay") {
  Training t("shm", 3, 0, true);
  REQUIRE(t.world.start() == "");
  const auto first = World::each(t.world.ranks(), [&](int r) { return t.of(r).run(t.world.at(r), r, 3, 3); });
  for (const std::string& f : first) REQUIRE(f == "");
  REQUIRE(t.lose_and_return(2, 5) == "");
  CHECK(t.equal());
  CHECK(t.of(2).loads.load() >= 1);
  CHECK(t.of(2).cursor == t.of(0).cursor);
}

TEST_CASE("a source that dies during the transfer is replaced, or a newer snapshot is taken; the state is right") {
  const std::string transport = GENERATE(from_range(transports()));
  Training t(transport, 4, 20'000'000);
  REQUIRE(t.world.start() == "");
  const auto first = World::each(t.world.ranks(), [&](int r) { return t.of(r).run(t.world.at(r), r, 4, 3); });
  for (const std::string& f : first) REQUIRE(f == "");
  t.world.at(3).detach();
  std::atomic<bool> stop{false};
  const auto results = World::each(t.world.ranks(), [&](int r) -> std::string {
    if (r == 1) {
      std::thread killer([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(60));
        t.world.at(1).detach();
      });
      (void)t.of(1).run(t.world.at(1), 1, 4, 1, &stop);  // ends with kClosed
      killer.join();
      return {};
    }
    if (r == 3) {
      t.trainers[3] = std::make_unique<Trainer>(0xdead);
      if (Status s = t.world.join(3); !s) return std::string(code_name(s.code())) + " " + s.error().detail;
    }
    return t.of(r).run(t.world.at(r), r, 3, 20, nullptr, 3);
  });
  for (const std::string& r : results) CHECK(r == "");
  CHECK(t.of(3).weights == t.of(0).weights);
  CHECK(t.of(2).weights == t.of(0).weights);
}

TEST_CASE("a joiner with other state is refused with the names that differ, and the others train on") {
  const std::string what = GENERATE(as<std::string>(), "shape", "type", "name", "one more", "none");
  Training t("shm", 2);
  REQUIRE(t.world.start() == "");
  Trainer stranger(1);
  Options options = t.world.options(1);
  t.world.at(1).detach();
  stranger.register_in(options);
  std::vector<std::uint64_t> more(1);
  if (what == "shape") options.state[0].shape = {2, kCount / 2};
  if (what == "type") options.state[0].type = DataType::kF64;
  if (what == "name") options.state[0].name = "biases";
  if (what == "one more") options.state.push_back({"biases", more.data(), 8, DataType::kU64, {}});
  if (what == "none") options.state.clear();
  std::atomic<bool> stop{false};
  std::thread other([&] { (void)t.of(0).run(t.world.at(0), 0, 2, 1, &stop); });
  const Status joined = t.world.join(1, options);
  stop.store(true);
  other.join();
  CHECK(joined.code() == Code::kConfig);
  CHECK_THAT(joined.error().detail, Catch::Contains(what == "one more" ? "biases" : "weights"));
  CHECK(t.world.at(0).all_reduce(t.of(0).sum.data(), t.of(0).sum.data(), 1, DataType::kU64, ReduceOp::kSum).ok());
}

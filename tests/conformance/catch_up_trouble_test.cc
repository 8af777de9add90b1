// Catch-up when something is wrong or short: two at once, bounds that are reached, state that is not what it should be.
#include <catch2/catch.hpp>

#include "tests/conformance/trainer.h"

using namespace regroup;
using namespace regroup::conformance;

TEST_CASE("two members that come back at once both catch up, to the same bits") {
  const std::string transport = GENERATE(from_range(transports()));
  Training t(transport, 4, 40'000'000);
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(3) == "");
  REQUIRE(t.lose_and_return({1, 3}, 5) == "");
  CHECK(t.equal());
  CHECK(t.of(1).replayed.load() > 0);
  CHECK(t.of(3).replayed.load() > 0);
  CHECK(t.world.at(1).steps() == t.world.at(0).steps());
}

TEST_CASE("a journal that is full ends in a newer snapshot, and says so") {
  std::atomic<int> steps{0};
  Training t("shm", 3, 20'000'000);
  t.more = [](int, Options& o) { o.journal_bytes = 7'000'000, o.spill_bytes = 0; };  // two results
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(3) == "");
  // Ten and more steps in the time of a transfer at first; then one takes as long.
  for (int r = 0; r < 3; ++r) t.of(r).think_ms = [&] { return ++steps < 300 ? 2 : 200; };
  REQUIRE(t.lose_and_return(2, 3) == "");
  CHECK(t.equal());
  const CatchUp report = t.world.at(2).caught_up();
  CHECK(report.snapshots > 1);
  CHECK_THAT(report.trouble, Catch::Contains("the journal is full"));
}

TEST_CASE("a transfer that its bounds make too slow for the journal, or for what may be kept, gets more each time, and ends") {
  const bool journal = GENERATE(true, false);
  CAPTURE(journal);
  std::atomic<int> steps{0};
  Training t("shm", 3, 1'000'000);  // 1.6 s of two sources, if it stays so
  if (journal) t.more = [](int, Options& o) { o.journal_bytes = 33'000'000, o.spill_bytes = 0; };  // ten results: half a second
  if (!journal) t.snapshot_bytes = 500'000;  // the first step after the mark ends the snapshot
  const int think = journal ? 50 : 80;
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(3) == "");
  for (int r = 0; r < 3; ++r) t.of(r).think_ms = [&] { return ++steps < 600 ? think : 400; };  // so that it ends when it fails
  REQUIRE(t.lose_and_return(2, 3) == "");
  CHECK(t.equal());
  CHECK(steps < 600);
}

TEST_CASE("where little may be kept and updates name their ranges, a newer snapshot moves only what has changed") {
  Training t("shm", 3, 4'000'000);
  t.snapshot_bytes = 4096;  // the first update that touches a stripe ends the snapshot
  for (int r = 0; r < 3; ++r) t.of(r).part = kCount / 8, t.of(r).think_ms = [] { return 60; };
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(3) == "");
  REQUIRE(t.lose_and_return(1, 3) == "");  // no snapshot lasts as long as the whole transfer
  CHECK(t.equal());
  const CatchUp report = t.world.at(1).caught_up();
  CHECK(report.snapshots > 2);
  CHECK(report.kept_bytes > kCount * 4);
  CHECK_THAT(report.trouble, Catch::Contains("ended"));
}

TEST_CASE("a member whose replay gives other bits is refused with the name of the state, and the others train on") {
  Training t("shm", 3, 20'000'000);
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(3) == "");
  t.world.at(2).detach();
  std::vector<std::thread> others;
  for (int r = 0; r < 2; ++r) others.emplace_back([&, r] { (void)t.of(r).run(t.world.at(r), r, 3, 1); });
  t.renew(2);
  t.of(2).applies_wrongly = true;
  const Status joined = t.world.join(2);
  CHECK(eventually([&] { return t.world.at(0).steps() > t.world.at(1).steps() || t.world.at(1).steps() > 8; }));
  for (int r = 0; r < 2; ++r) t.world.at(r).detach();  // one may be waiting for the other
  for (std::thread& o : others) o.join();
  CHECK(t.of(2).replayed.load() > 0);
  CHECK(joined.code() == Code::kInvalid);
  CHECK_THAT(joined.error().detail, Catch::Contains("weights") && Catch::Contains("apply"));
}

TEST_CASE("a member alone with one whose replay gives other bits does not let it in either") {
  Training t("shm", 2, 20'000'000);
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(3) == "");
  t.world.at(1).detach();
  std::atomic<bool> stop{false};
  std::thread other([&] { (void)t.of(0).run(t.world.at(0), 0, 2, 1, &stop); });
  t.renew(1);
  t.of(1).applies_wrongly = true;
  const Status joined = t.world.join(1);
  stop.store(true);
  other.join();
  CHECK(joined.code() == Code::kInvalid);
  CHECK_THAT(joined.error().detail, Catch::Contains("weights"));
}

// Cold start: all members end at once and begin anew, from checkpoints or from what one of them still holds.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "tests/conformance/trainer.h"
#include "tests/ft_driver/folder.h"

using namespace regroup;
using namespace regroup::conformance;
namespace fs = std::filesystem;

namespace {

// What the state is after `steps` steps of a whole group of n.
std::vector<std::uint64_t> expected(std::uint64_t steps, std::uint64_t n) {
  std::vector<std::uint64_t> weights(kCount, 7);
  for (std::uint64_t s = 1; s <= steps; ++s)
    for (std::size_t i = 0; i < kCount; ++i) weights[i] = 3 * weights[i] + n * i * s + n * (n - 1) / 2;
  return weights;
}

void lose_all(Training& t) {
  for (int r : t.world.ranks()) t.world.at(r).detach();
  for (int r : t.world.ranks()) {
    t.world.drop(r);
    t.trainers[static_cast<std::size_t>(r)] = std::make_unique<Trainer>(0);
    t.of(r).begin();
  }
  REQUIRE(t.world.forget_log().ok());
}

}  // namespace

TEST_CASE("all members are lost: they begin anew at the step of the newest checkpoint, to the same bits as without a loss") {
  const std::string transport = GENERATE(from_range(transports()));
  const bool shared = GENERATE(true, false);
  test::Folder folder;
  Training t(transport, 3, 0, true);
  t.more = [&](int rank, Options& o) {
    o.checkpoint_dir = folder.file(shared ? "all" : std::to_string(rank));
    o.checkpoint_every = 4;
  };
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(14) == "");
  for (int r : t.world.ranks())
    REQUIRE(eventually([&] { return t.world.at(r).checkpoints().written + t.world.at(r).checkpoints().left_out >= 1; }));
  std::uint64_t newest = 0;
  for (int r : t.world.ranks()) newest = std::max(newest, t.world.at(r).checkpoints().step);
  REQUIRE(newest >= 4);
  lose_all(t);
  REQUIRE(t.world.start() == "");
  for (int r : t.world.ranks()) {
    CHECK(t.world.at(r).steps() == newest);
    CHECK(t.of(r).weights == expected(newest, 3));
    CHECK(t.of(r).cursor == newest);
    CHECK(t.of(r).restored.load() == 1);
    CHECK(t.world.at(r).last_restore_s() > 0);
  }
  REQUIRE(t.run_all(6) == "");
  CHECK(t.equal());
  CHECK(t.of(0).weights == expected(newest + 6, 3));
  REQUIRE(t.lose_and_return(1, 5) == "");  // and catch-up goes on as ever
  CHECK(t.equal());
}

TEST_CASE("without a checkpoint all begin at step 0 with what they registered") {
  test::Folder folder;
  Training t("shm", 2);
  t.more = [&](int, Options& o) { o.checkpoint_dir = folder.file("new"); };
  REQUIRE(t.world.start() == "");
  for (int r : t.world.ranks()) {
    CHECK(t.world.at(r).steps() == 0);
    CHECK(t.of(r).restored.load() == 0);
  }
  REQUIRE(t.run_all(3) == "");
  CHECK(t.of(1).weights == expected(3, 2));
}

TEST_CASE("only one member's folder holds a checkpoint: the others take it from that member") {
  test::Folder folder;
  Training t("tcp", 2);
  t.more = [&](int rank, Options& o) { o.checkpoint_dir = folder.file(std::to_string(rank)), o.checkpoint_every = 3; };
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(4) == "");
  REQUIRE(eventually([&] { return t.world.at(1).checkpoints().step == 3; }));  // the first turn is member 1's
  lose_all(t);
  fs::remove_all(folder.file("0"));
  REQUIRE(t.world.start() == "");
  CHECK(t.world.at(0).steps() == 3);
  CHECK(t.of(0).weights == expected(3, 2));
  CHECK(t.equal());
}

TEST_CASE("a damaged checkpoint: the member that holds it is refused with the file's name, and changes nothing") {
  test::Folder folder;
  Training t("shm", 2);
  t.more = [&](int rank, Options& o) {
    o.checkpoint_dir = folder.file(std::to_string(rank)), o.checkpoint_every = 3;
    o.join_timeout_s = 2;
  };
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(4) == "");
  REQUIRE(eventually([&] { return t.world.at(1).checkpoints().step == 3; }));
  lose_all(t);
  const std::string name = folder.file("1") + "/step-00000000000000000003.ckpt";
  fs::resize_file(name, fs::file_size(name) - 100);
  const auto results = World::each(t.world.ranks(), [&](int r) { return t.world.join(r); });
  CHECK(results[1].code() == Code::kConfig);
  CHECK_THAT(results[1].error().detail, Catch::Contains("step-00000000000000000003.ckpt") && Catch::Contains("truncated"));
  CHECK(t.of(1).weights == expected(0, 2));
  CHECK(t.of(0).weights == expected(0, 2));
}

TEST_CASE("a byte of the only checkpoint is flipped: all are told which tensor, and nobody trains on it") {
  test::Folder folder;
  Training t("shm", 2);
  t.more = [&](int, Options& o) { o.checkpoint_dir = folder.file("all"), o.checkpoint_every = 3; };
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(4) == "");
  REQUIRE(eventually([&] { return t.world.at(1).checkpoints().step == 3; }));
  lose_all(t);
  {
    std::fstream file(folder.file("all") + "/step-00000000000000000003.ckpt", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1'000'000);
    file.put(1);
  }
  for (const Status& s : World::each(t.world.ranks(), [&](int r) { return t.world.join(r); })) {
    CHECK(s.code() == Code::kConfig);
    CHECK_THAT(s.error().detail, Catch::Contains("weights"));
  }
  CHECK(t.equal());
  CHECK(t.of(0).weights == expected(0, 2));
}

TEST_CASE("a member with a newer checkpoint than the running group is refused, told so, and its checkpoint stands") {
  test::Folder folder;
  const std::uint64_t step = GENERATE(3u, 20u);  // refused at the hand-over; before anything is fetched
  Training t("shm", 2);
  t.more = [&](int rank, Options& o) { o.checkpoint_dir = folder.file(std::to_string(rank)), o.checkpoint_every = step; };
  REQUIRE(t.world.start() == "");
  REQUIRE(t.run_all(static_cast<int>(step) + 1) == "");
  REQUIRE(eventually([&] { return t.world.at(1).checkpoints().step == step; }));
  lose_all(t);
  fs::rename(folder.file("1"), folder.file("aside"));
  REQUIRE(t.world.start() == "");  // a group that has lost its past
  REQUIRE(t.run_all(1) == "");
  t.world.at(1).detach();
  t.world.drop(1);
  fs::remove_all(folder.file("1"));
  fs::rename(folder.file("aside"), folder.file("1"));
  std::atomic<bool> stop{false};
  Status joined;
  std::thread other([&] {
    while (!stop.load() && t.world.at(0).steps() < 2) (void)t.of(0).run(t.world.at(0), 0, 1, 1);
    while (!stop.load()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  });
  joined = t.world.join(1);
  stop.store(true);
  other.join();
  CHECK(joined.code() == Code::kConfig);
  CHECK_THAT(joined.error().detail, Catch::Contains("step " + std::to_string(step)) && Catch::Contains("checkpoint_dir"));
  CHECK(t.of(1).loads.load() == 0);
  CHECK(fs::file_size(folder.file("1") + "/latest") > 0);
  CHECK(t.of(0).run(t.world.at(0), 0, 1, 3) == "");
}

// Catch-up as an observer: a returning member fetches, journals and replays while the others train on.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <thread>

#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

constexpr std::size_t kCount = 400'000;  // u64: 13 stripes, every one changed in every step

// weights = 3 * weights + sum of the gradients: the order of steps shows in every bit.
struct Trainer {
  std::vector<std::uint64_t> weights, sum;
  std::uint64_t cursor = 0;  // a blob
  std::atomic<std::uint64_t> replayed{0};
  std::atomic<int> loads{0};
  explicit Trainer(std::uint64_t garbage) : weights(kCount, garbage), sum(kCount), cursor(garbage) {}

  void begin() { std::fill(weights.begin(), weights.end(), 7), cursor = 0; }
  void update(const std::uint64_t* gradient) {
    for (std::size_t i = 0; i < kCount; ++i) weights[i] = 3 * weights[i] + gradient[i];
    ++cursor;
  }
  void register_in(Options& options, bool blob = false) {
    options.state = {{"weights", weights.data(), weights.size() * 8, DataType::kU64, {kCount}}};
    options.apply = [this](std::uint64_t, std::span<const StepResult> results) -> Status {
      if (results.size() != 1 || results[0].code != Code::kOk || results[0].bytes != kCount * 8)
        return {Code::kInvalid, "not the results of a step"};
      update(static_cast<const std::uint64_t*>(results[0].data));
      ++replayed;
      return {};
    };
    if (!blob) return;
    options.blobs = {{"cursor",
                      [this] {
                        std::vector<std::byte> bytes(8);
                        std::memcpy(bytes.data(), &cursor, 8);
                        return bytes;
                      },
                      [this](std::span<const std::byte> bytes) -> Status {
                        if (bytes.size() != 8) return {Code::kInvalid, "not a cursor"};
                        std::memcpy(&cursor, bytes.data(), 8);
                        ++loads;
                        return {};
                      }}};
  }
  // Until `last` steps were done by `full` members, `with` among them, or stop. Empty, or what is wrong.
  std::string run(Group& group, int rank, std::size_t full, int last, const std::atomic<bool>* stop = nullptr, std::uint32_t with = 0) {
    for (int with_all = 0, steps = 0; with_all < last; ++steps) {
      if (stop != nullptr && stop->load()) return {};
      if (steps > 20'000) return "the others never came";
      std::this_thread::sleep_for(std::chrono::milliseconds(2));  // computes
      std::vector<std::uint64_t> gradient(kCount);
      for (std::size_t i = 0; i < kCount; ++i) gradient[i] = i * (group.steps() + 1) + static_cast<std::uint64_t>(rank);
      const Result<Outcome> got = group.all_reduce(gradient.data(), sum.data(), kCount, DataType::kU64, ReduceOp::kSum);
      if (!got) return std::string(code_name(got.code())) + " " + got.error().detail;
      if (Status s = group.begin_update(); !s) return s.error().detail;
      update(sum.data());
      if (Status s = group.end_update(); !s) return s.error().detail;
      const auto& members = got->view->members;
      if (members.size() == full && std::find(members.begin(), members.end(), MemberId{with, 0}) != members.end()) ++with_all;
    }
    return {};
  }
};

struct Training {
  std::vector<std::unique_ptr<Trainer>> trainers;
  bool blob = false;
  std::uint64_t rate = 0;
  std::uint64_t snapshot_bytes = 1u << 30;
  World world;
  Training(const std::string& transport, int size, std::uint64_t rate_ = 0, bool blob_ = false)
      : blob(blob_), rate(rate_), world(transport, size, [this](int rank, Options& o) {
          o.catch_up_rate = rate;
          o.snapshot_bytes = snapshot_bytes;
          trainers[static_cast<std::size_t>(rank)]->register_in(o, blob);
        }) {
    for (int i = 0; i < size; ++i) trainers.push_back(std::make_unique<Trainer>(0));
    for (auto& t : trainers) t->begin();
  }
  Trainer& of(int rank) { return *trainers[static_cast<std::size_t>(rank)]; }
  // `rank` dies; the others go on; it comes back with garbage, and all do `last` steps together. Empty, or what is wrong.
  std::string lose_and_return(int rank, int last) {
    world.at(rank).detach();
    const auto full = trainers.size();
    const auto results = World::each(world.ranks(), [&](int r) -> std::string {
      if (r != rank) return of(r).run(world.at(r), r, full, last);
      trainers[static_cast<std::size_t>(rank)] = std::make_unique<Trainer>(0xdead);
      if (Status s = world.join(rank); !s) return std::string(code_name(s.code())) + " " + s.error().detail;
      return of(r).run(world.at(r), r, full, last);
    });
    for (const std::string& r : results)
      if (!r.empty()) return r;
    return {};
  }
  bool equal() {
    for (const auto& t : trainers)
      if (t->weights != trainers[0]->weights) return false;
    return true;
  }
};

}  // namespace

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

TEST_CASE("a joiner whose state has another shape is refused with the name, and the others train on") {
  Training t("shm", 2);
  REQUIRE(t.world.start() == "");
  Trainer stranger(1);
  Options options = t.world.options(1);
  t.world.at(1).detach();
  stranger.register_in(options);
  options.state[0].shape = {2, kCount / 2};
  std::atomic<bool> stop{false};
  std::thread other([&] { (void)t.of(0).run(t.world.at(0), 0, 2, 1, &stop); });
  const Status joined = t.world.join(1, options);
  stop.store(true);
  other.join();
  CHECK(joined.code() == Code::kConfig);
  CHECK_THAT(joined.error().detail, Catch::Contains("weights"));
  CHECK(t.world.at(0).all_reduce(t.of(0).sum.data(), t.of(0).sum.data(), 1, DataType::kU64, ReduceOp::kSum).ok());
}

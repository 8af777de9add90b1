// Communicators over the stand-in: each way in which a call of NCCL may hang, dawdle, fail or refuse ends within its
// bound, with a reason.
#include "transport/nccl/communicator.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <thread>

#include "base/clock.h"
#include "kernels/device/host_device.h"
#include "tests/transport_nccl/told.h"

using namespace regroup;
using namespace regroup::nccl;
using regroup::testing::Told;
using State = Communicator::State;
using Step = Communicator::Step;

namespace {

constexpr Duration kBound = Duration::from_s(20);    // of what is expected to end
constexpr Duration kLong = Duration::from_s(15);     // limit that is not to be met
constexpr Duration kShort = Duration::from_ms(150);  // limit that is

template <class F>
bool within_bound(F holds) {
  for (const Instant until = now() + kBound; now() < until; std::this_thread::sleep_for(std::chrono::microseconds(200)))
    if (holds()) return true;
  return false;
}

struct Ranks {
  std::shared_ptr<device::Device> device = device::make_host_device();
  LibraryPtr library;
  std::vector<std::unique_ptr<Communicator>> comms;
  std::vector<std::unique_ptr<device::Stream>> streams;
  std::vector<std::unique_ptr<device::Event>> events;
  std::vector<std::vector<float>> in, out;

  Ranks(const std::string& file, int n, Duration limit = kLong, Communicator::Enter enter = {}) {
    const auto loaded = load(file);
    REQUIRE(loaded.ok());
    library = *loaded;
    MadeId id;
    REQUIRE(library->call.GetUniqueId(&id.id) == kSuccess);
    for (int r = 0; r < n; ++r) {
      comms.push_back(Communicator::init(library, id.id, r, n, limit, enter));
      streams.push_back(device->make_stream().value());
      events.push_back(device->make_event().value());
      in.emplace_back(50'000, static_cast<float>(r + 1));
      out.emplace_back(50'000, -1.0f);
    }
  }
  ~Ranks() {
    for (auto& c : comms)
      if (c) c->abort();
    for (auto& c : comms)
      if (c) CHECK(c->wait_ended(now() + kBound));
  }
  bool all(State state) {
    return within_bound(
        [&] { return std::all_of(comms.begin(), comms.end(), [&](auto& c) { return !c || c->state() == state; }); });
  }
  void all_reduce(std::size_t r) {
    Job job;
    job.in = in[r].data(), job.out = out[r].data(), job.count = in[r].size();
    job.type = kFloat32;
    job.stream = streams[r]->native();
    comms[r]->run(job, [] { return Status{}; }, [s = streams[r].get(), e = events[r].get()] { return s->record(*e); });
  }
  bool done(std::size_t r) { return comms[r]->queued() == Step::kDone && *events[r]->reached(); }
};

}  // namespace

TEST_CASE("communicators are made, and an all-reduce over them has the sum") {
  Told told(NCCL_STAND_IN);
  Ranks ranks(told.file(), 3);
  REQUIRE(ranks.all(State::kUp));
  for (std::size_t r = 0; r < 3; ++r) ranks.all_reduce(r);
  for (std::size_t r = 0; r < 3; ++r) {
    REQUIRE(within_bound([&] { return ranks.done(r); }));
    CHECK(std::count(ranks.out[r].begin(), ranks.out[r].end(), 6.0f) == 50'000);
  }
}

TEST_CASE("ncclInProgress for long is waited for, as long as the bound allows") {
  Told told(NCCL_STAND_IN, "init@1=slow:400");
  SECTION("it does") {
    Ranks ranks(told.file(), 2);
    const Instant began = now();
    CHECK(ranks.all(State::kUp));
    CHECK(now() - began >= Duration::from_ms(300));
  }
  SECTION("it does not") {
    Ranks ranks(told.file(), 2, kShort);
    CHECK(within_bound([&] { return ranks.comms[1]->state() == State::kFailed; }));
    CHECK(ranks.comms[1]->trouble().find("within its bound") != std::string::npos);
  }
}

TEST_CASE("a call that makes a communicator and never returns costs its caller no more than the bound") {
  Told told(NCCL_STAND_IN, "init@1=hang");
  Ranks ranks(told.file(), 2, kShort);
  const Instant began = now();
  CHECK(ranks.all(State::kFailed));
  ranks.comms[1]->abort();
  CHECK(now() - began < Duration::from_s(5));
  CHECK_FALSE(ranks.comms[1]->ended());
  told.tell("");  // the call returns after all: what it has made is ended
  CHECK(within_bound([&] { return ranks.comms[1]->ended(); }));
}

TEST_CASE("each thread that calls NCCL enters its device first; where that fails no communicator is made") {
  Told told(NCCL_STAND_IN);
  std::atomic<int> entered{0};
  const int made = told.count("init");
  SECTION("it does") {
    Ranks ranks(told.file(), 1, kLong, [&] { return ++entered, Status{}; });
    REQUIRE(ranks.all(State::kUp));
    CHECK(entered == 1);
    ranks.comms[0]->revoke();
    REQUIRE(within_bound([&] { return entered == 2; }));
    ranks.comms[0]->abort();
    CHECK(ranks.comms[0]->wait_ended(now() + kBound));
    CHECK(entered == 3);
  }
  SECTION("it fails") {
    Ranks ranks(told.file(), 1, kLong, [] { return Status{Code::kSystem, "no device"}; });
    CHECK(ranks.all(State::kFailed));
    CHECK(told.count("init") == made);
  }
}

TEST_CASE("an error, of the call or later, is told by its name") {
  Told told(NCCL_STAND_IN);
  Ranks ranks(told.file(), 2);
  REQUIRE(ranks.all(State::kUp));
  SECTION("of the call") {
    told.tell("launch@0=fail:6");
    ranks.all_reduce(0);
    CHECK(within_bound([&] { return ranks.comms[0]->queued() == Step::kFailed; }));
  }
  SECTION("later") {
    told.tell("kernel@0=fail:6");
    ranks.all_reduce(0);
    CHECK(within_bound([&] { return ranks.comms[0]->check(), ranks.comms[0]->state() == State::kFailed; }));
  }
  CHECK(ranks.comms[0]->trouble().find("ncclRemoteError") != std::string::npos);
}

TEST_CASE("a collective that hangs is ended by an abort, also where its call hangs") {
  Told told(NCCL_STAND_IN);
  Ranks ranks(told.file(), 2);
  REQUIRE(ranks.all(State::kUp));
  const bool call = GENERATE(false, true);
  const char* point = call ? "launch" : "kernel";
  const int before = told.count(point);
  told.tell(std::string(point) + "@0=hang");
  ranks.all_reduce(0);
  ranks.all_reduce(1);
  REQUIRE(within_bound([&] { return told.count(point) > before; }));
  for (auto& c : ranks.comms) c->abort();
  CHECK(within_bound([&] { return ranks.comms[0]->ended() && ranks.comms[1]->ended(); }));
  told.tell("");
}

TEST_CASE("an abort that does not return is seen as stuck, and only then") {
  Told told(NCCL_STAND_IN);
  Ranks ranks(told.file(), 2, kShort);
  REQUIRE(ranks.all(State::kUp));
  told.tell("abort@1=hang");
  for (auto& c : ranks.comms) c->abort();
  CHECK_FALSE(ranks.comms[1]->stuck());
  CHECK(within_bound([&] { return ranks.comms[1]->stuck(); }));
  CHECK_FALSE(ranks.comms[0]->stuck());
  told.tell("");
}

TEST_CASE("survivors of a hanging collective shrink their communicator and go on, revoked or not") {
  const std::string file = GENERATE(as<std::string>{}, NCCL_STAND_IN, NCCL_STAND_IN_227);
  Told told(file);
  Ranks ranks(file, 3);
  REQUIRE(ranks.all(State::kUp));
  for (std::size_t r : {0u, 2u}) ranks.all_reduce(r);  // 1 never comes
  const auto shrink = [&] {
    std::vector<std::unique_ptr<Communicator>> made(3);
    for (std::size_t r : {0u, 2u}) ranks.comms[r]->revoke();
    for (std::size_t r : {0u, 2u}) made[r] = Communicator::shrink(*ranks.comms[r], {1}, kLong);
    return made;
  };
  SECTION("it does") {
    auto made = shrink();
    for (std::size_t r : {0u, 2u}) REQUIRE(within_bound([&] { return made[r]->state() == State::kUp; }));
    for (std::size_t r : {0u, 2u}) {
      ranks.comms[r].swap(made[r]);
      made[r]->abort();
      REQUIRE(made[r]->wait_ended(now() + kBound));
      ranks.out[r].assign(50'000, -1.0f);
      ranks.all_reduce(r);
    }
    for (std::size_t r : {0u, 2u}) {
      REQUIRE(within_bound([&] { return ranks.done(r); }));
      CHECK(std::count(ranks.out[r].begin(), ranks.out[r].end(), 4.0f) == 50'000);
    }
  }
  SECTION("it is refused") {
    told.tell("shrink@2=fail:5");
    auto made = shrink();
    CHECK(within_bound([&] { return made[2]->state() == State::kFailed; }));
    CHECK(made[2]->trouble().find("ncclInvalidUsage") != std::string::npos);
    for (std::size_t r : {0u, 2u}) made[r]->abort();
    for (std::size_t r : {0u, 2u}) CHECK(made[r]->wait_ended(now() + kBound));
  }
}

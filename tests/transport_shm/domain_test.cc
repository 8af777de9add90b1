#include "transport/shm/domain.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>

#include "base/clock.h"
#include "base/rng.h"

using namespace regroup;

namespace {

template <class Condition>
bool within_5_s(Condition condition) {
  const Instant end = now() + Duration::from_s(5);
  while (!condition() && now() < end) std::this_thread::yield();
  return condition();
}

}  // namespace

TEST_CASE("a peer that is gone is let go, but only when the cores have time for it") {
  auto mine = shm::Domain::create(random_incarnation(), 8, 4096);
  const Incarnation stays = random_incarnation(), gone = random_incarnation();
  auto theirs = shm::Domain::create(gone, 8, 4096);
  REQUIRE((mine.ok() && theirs.ok()));
  shm::Domain& domain = **mine;
  REQUIRE(domain.peer(gone, (*theirs)->socket_name())->map(shm::kWordsSegment).ok());
  const std::weak_ptr<shm::Peer> memory = domain.peer(gone, "");
  const std::weak_ptr<shm::Peer> other = domain.peer(stays, "");
  domain.keep_peers({stays});
  std::atomic<bool> passed = false;
  domain.defer([&] { passed = true; });  // the memory thread has nothing to free before calm()
  CHECK_FALSE(memory.expired());
  domain.calm();
  CHECK(within_5_s([&] { return memory.expired(); }));
  CHECK(passed);  // jobs run in order
  CHECK_FALSE(other.expired());
}

TEST_CASE("what still waited to be freed goes with the domain") {
  auto held = std::make_shared<int>(0);
  {
    auto domain = shm::Domain::create(random_incarnation(), 8, 4096);
    REQUIRE(domain.ok());
    (*domain)->defer_until_calm([held] {});
    CHECK(held.use_count() == 2);
  }
  CHECK(held.use_count() == 1);
}

#include "transport/shm/domain.h"

#include <sys/mman.h>

#include <algorithm>
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

namespace {

// Whether this system moves shared memory to 2 MiB pages for who asks.
bool huge_pages_to_be_had() {
  auto probe = shm::Segment::create("probe", 2 << 20);
  REQUIRE(probe.ok());
  return ::madvise(probe->data(), probe->size(), 25) == 0 && shm::has_huge_pages(*probe);
}

}  // namespace

TEST_CASE("memory that is asked for on 2 MiB pages is there, where the system has them, and zeroed") {
  auto memory = shm::Segment::create("huge", 5 << 20, shm::Pages::kHuge);
  REQUIRE(memory.ok());
  CHECK(memory->size() == 6u << 20);
  CHECK(std::all_of(memory->data(), memory->data() + memory->size(), [](std::byte b) { return b == std::byte{0}; }));
  if (huge_pages_to_be_had()) CHECK(shm::has_huge_pages(*memory));
}

TEST_CASE("scratch moves to 2 MiB pages on the memory thread, with what stands in it, for its readers too") {
  if (!huge_pages_to_be_had()) return;
  auto mine = shm::Domain::create(random_incarnation(), 8, 4096);
  const Incarnation other = random_incarnation();
  auto theirs = shm::Domain::create(other, 8, 4096);
  REQUIRE((mine.ok() && theirs.ok()));
  auto scratch = (*theirs)->take_scratch(4 << 20);
  REQUIRE(scratch.ok());
  const shm::Segment& memory = (*scratch)->memory;
  auto peer = (*mine)->peer(other, (*theirs)->socket_name());
  auto mapping = peer->map((*scratch)->id);
  REQUIRE(mapping.ok());
  for (std::size_t i = 0; i < memory.size(); i += 4096) memory.data()[i] = static_cast<std::byte>(i / 4096 % 251 + 1);
  CHECK(within_5_s([&] { return shm::has_huge_pages(memory); }));
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < memory.size(); i += 4096)
    wrong += (*mapping)->data()[i] != static_cast<std::byte>(i / 4096 % 251 + 1);
  CHECK(wrong == 0);
}

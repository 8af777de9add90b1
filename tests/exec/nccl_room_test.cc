// Rooms on the host device, whose steps are late: what goes through one, what waits for what, and what is used again.
#include "runtime/exec/nccl_room.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

#include "base/clock.h"
#include "kernels/device/host_device.h"

using namespace regroup;

namespace {

constexpr Duration kBound = Duration::from_s(20);

template <class F>
bool within_bound(F holds) {
  for (const Instant until = now() + kBound; now() < until; std::this_thread::sleep_for(std::chrono::microseconds(100)))
    if (holds()) return true;
  return false;
}

std::shared_ptr<NcclRooms> rooms_on(device::Faults faults = {}) {
  return std::make_shared<NcclRooms>(device::make_host_device(faults));
}

std::shared_ptr<NcclRoom> open_room(NcclRooms& rooms, std::size_t in, std::size_t out) {
  auto room = rooms.open();
  REQUIRE(within_bound([&] { return room->open(); }));
  REQUIRE(within_bound([&] { return room->reserve(in, out); }));
  return room;
}

}  // namespace

TEST_CASE("a room's ends are pinned memory and memory of the device, and what goes through it is whole when it says so") {
  device::Faults late;
  late.seed = 3, late.late = Duration::from_ms(2);
  auto rooms = rooms_on(late);
  auto room = open_room(*rooms, 100'000, 100'000);
  for (const NcclRoom::Buffer* b : {&room->in(), &room->out()}) {
    CHECK(rooms->device()->kind_of(b->here).value() == device::Memory::kPinned);
    CHECK(rooms->device()->kind_of(b->there).value() == device::Memory::kDevice);
  }
  for (int round = 1; round <= 20; ++round) {
    std::memset(room->in().here, round, 100'000);
    room->begin();
    REQUIRE(room->before(100'000).ok());
    REQUIRE(room->stream().copy(room->out().there, room->in().there, 100'000).ok());  // the collective
    REQUIRE(room->after(100'000).ok());
    REQUIRE(within_bound([&] { return room->done(); }));
    CHECK(room->out().here[0] == std::byte(round));
    CHECK(room->out().here[99'999] == std::byte(round));
  }
  room.reset();
  CHECK(rooms->end(now() + kBound));
}

TEST_CASE("a room grows while its user does something else, and not while something runs in it") {
  auto rooms = rooms_on();
  auto room = open_room(*rooms, 1'000, 1'000);
  const device::Flag gate = rooms->device()->make_flag().value();
  room->begin();
  REQUIRE(room->stream().wait(gate, 1).ok());
  REQUIRE(room->after(1'000).ok());
  const std::byte* before = room->in().here;
  CHECK_FALSE(room->reserve(500'000, 1'000));
  open_room(*rooms, 1, 1);  // whatever was asked for before has been done
  CHECK_FALSE(room->reserve(500'000, 1'000));
  CHECK_FALSE(room->reserve(1'000, 1'000));
  CHECK(room->in().here == before);
  gate.raise(1);
  CHECK(within_bound([&] { return room->reserve(500'000, 1'000); }));
  CHECK(room->in().bytes >= 500'000);
}

TEST_CASE("the memory of a room that was dropped serves the next one, once its last user has gone") {
  auto rooms = rooms_on();
  auto room = open_room(*rooms, 300'000, 300'000);
  const std::byte* first = room->in().there;
  auto user = room;
  room.reset();
  auto other = open_room(*rooms, 300'000, 300'000);
  CHECK(other->in().there != first);
  CHECK(other->out().there != first);
  std::thread([u = std::move(user)]() mutable { u.reset(); }).join();
  auto next = open_room(*rooms, 300'000, 300'000);
  CHECK((next->in().there == first || next->out().there == first));
}

TEST_CASE("a room on a device that is lost never says that it is done; one without memory for an op says so") {
  SECTION("lost") {
    device::Faults faults;
    faults.fail_at = 1;
    auto rooms = rooms_on(faults);
    auto room = open_room(*rooms, 1'000, 1'000);
    (void)room->before(1'000).ok();
    REQUIRE(within_bound([&] { return !rooms->device()->health().ok(); }));
    room->begin();
    CHECK_FALSE(room->after(1'000).ok());
    CHECK_FALSE(room->done());
  }
  SECTION("no memory") {
    device::Faults faults;
    faults.most_pinned = 100'000;
    auto rooms = rooms_on(faults);
    auto room = open_room(*rooms, 50'000, 50'000);
    for (const Instant until = now() + Duration::from_ms(50); now() < until;) CHECK_FALSE(room->reserve(200'000, 50'000));
    CHECK(room->reserve(50'000, 50'000));
  }
}

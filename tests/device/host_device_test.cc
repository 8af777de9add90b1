// The host device: order within a stream, waits between streams, flags both ways, late and failing steps. Every wait has a bound.
#include "kernels/device/host_device.h"

#include <catch2/catch.hpp>
#include <vector>

#include "base/clock.h"
#include "kernels/device/probe.h"

using namespace regroup;
using namespace regroup::device;

namespace {

Instant bound() { return now() + Duration::from_s(20); }

struct Append {  // a kernel: writes `value` where the cursor stands
  std::uint32_t* out;
  std::uint32_t* cursor;
  std::uint32_t value;
};
void append(const void* arguments) {
  const auto& a = *static_cast<const Append*>(arguments);
  a.out[(*a.cursor)++] = a.value;
}

struct Memory4 {
  Device& device;
  std::vector<void*> all;
  std::uint32_t* words(std::size_t n, Memory kind = Memory::kDevice) {
    Result<void*> m = device.allocate(kind, n * 4);
    REQUIRE(m.ok());
    all.push_back(*m);
    std::memset(*m, 0, n * 4);
    return static_cast<std::uint32_t*>(*m);
  }
};

bool eventually(const std::function<bool()>& holds) {
  for (const Instant until = bound(); now() < until;)
    if (holds()) return true;
  return false;
}

constexpr Duration kLate = Duration::from_us(200);

}  // namespace

TEST_CASE("steps of a stream are carried out in order, however late each is") {
  for (std::uint64_t seed = 1; seed < 6; ++seed) {
    auto device = make_host_device({seed, kLate, 0});
    Memory4 memory{*device, {}};
    auto* out = memory.words(64);
    auto* cursor = memory.words(1);
    auto* host = memory.words(64, Memory::kPinned);
    auto stream = device->make_stream();
    REQUIRE(stream.ok());
    for (std::uint32_t i = 0; i < 60; ++i) REQUIRE((*stream)->launch(Launch::of(&append, Append{out, cursor, i})).ok());
    REQUIRE((*stream)->copy(host, out, 60 * 4).ok());
    REQUIRE((*stream)->zero(out, 60 * 4).ok());
    REQUIRE((*stream)->finish(bound()).ok());
    for (std::uint32_t i = 0; i < 60; ++i) CHECK((host[i] == i && out[i] == 0));
  }
}

TEST_CASE("a stream that waits for an event of another begins after what was before it, not after what came later") {
  for (std::uint64_t seed = 1; seed < 9; ++seed) {
    auto device = make_host_device({seed, kLate, 0});
    Memory4 memory{*device, {}};
    auto* out = memory.words(8);
    auto* cursor = memory.words(1);
    auto a = device->make_stream(), b = device->make_stream();
    auto event = device->make_event();
    const Flag gate = *device->make_flag(), hold = *device->make_flag();
    CHECK(*(*event)->reached());  // of nothing
    REQUIRE((*a)->wait(hold, 1).ok());
    REQUIRE((*a)->launch(Launch::of(&append, Append{out, cursor, 1})).ok());
    REQUIRE((*a)->record(**event).ok());
    REQUIRE((*a)->wait(gate, 1).ok());  // never passed before b is done
    REQUIRE((*a)->launch(Launch::of(&append, Append{out, cursor, 3})).ok());
    REQUIRE((*b)->wait(**event).ok());
    REQUIRE((*b)->launch(Launch::of(&append, Append{out, cursor, 2})).ok());
    CHECK((*b)->finish(now() + Duration::from_ms(5)).code() == Code::kTimeout);
    CHECK_FALSE(*(*event)->reached());
    CHECK(*cursor == 0);
    hold.raise(1);
    REQUIRE((*b)->finish(bound()).ok());
    CHECK(*(*event)->reached());
    CHECK((out[0] == 1 && out[1] == 2 && out[2] == 0));
    CHECK((*a)->finish(now() + Duration::from_ms(20)).code() == Code::kTimeout);
    gate.raise(1);
    REQUIRE((*a)->finish(bound()).ok());
    CHECK(out[2] == 3);
  }
}

TEST_CASE("streams without a wait between them overtake one another") {
  bool a_first = false, b_first = false;
  for (std::uint64_t seed = 1; seed < 200 && !(a_first && b_first); ++seed) {
    auto device = make_host_device({seed, kLate, 0});
    auto a = device->make_stream(), b = device->make_stream();
    const Flag begun = *device->make_flag(), turn = *device->make_flag();
    // Each takes its place alone: the flag of whoever comes first.
    REQUIRE((*a)->raise(begun, 1).ok());
    REQUIRE((*b)->raise(turn, 1).ok());
    REQUIRE(eventually([&] { return begun.value() != 0 || turn.value() != 0; }));
    (begun.value() != 0 && turn.value() == 0 ? a_first : b_first) = true;
    REQUIRE((*a)->finish(bound()).ok());
    REQUIRE((*b)->finish(bound()).ok());
  }
  CHECK(a_first);
  CHECK(b_first);
}

TEST_CASE("a flag that a stream raises is seen by the host after all that was before it") {
  auto device = make_host_device({3, kLate, 0});
  Memory4 memory{*device, {}};
  auto* from = memory.words(100'000);
  auto* to = memory.words(100'000);
  for (std::uint32_t i = 0; i < 100'000; ++i) from[i] = i ^ 77;
  auto stream = device->make_stream();
  const Flag flag = *device->make_flag();
  REQUIRE((*stream)->copy(to, from, 400'000).ok());
  REQUIRE((*stream)->raise(flag, 5).ok());
  REQUIRE(eventually([&] { return flag.value() == 5; }));
  CHECK(std::equal(from, from + 100'000, to));
}

TEST_CASE("a step that fails loses the device: nothing after it happens, and every call says why") {
  for (std::uint64_t n = 1; n <= 4; ++n) {
    auto device = make_host_device({1, kLate, n});
    Memory4 memory{*device, {}};
    auto* out = memory.words(8);
    auto* cursor = memory.words(1);
    auto stream = device->make_stream(), other = device->make_stream();
    auto event = device->make_event();
    const Flag flag = *device->make_flag();
    for (std::uint32_t i = 1; i <= 4; ++i) (void)(*stream)->launch(Launch::of(&append, Append{out, cursor, i})).ok();
    (void)(*stream)->record(**event).ok();
    (void)(*stream)->raise(flag, 1).ok();
    const Status end = (*stream)->finish(bound());
    CHECK(end.code() == Code::kSystem);
    CHECK(end.error().detail.find("lost") != std::string::npos);
    CHECK(*cursor == n - 1);
    CHECK(flag.value() == 0);
    CHECK(device->health().code() == Code::kSystem);
    CHECK((*event)->reached().code() == Code::kSystem);
    CHECK((*other)->zero(out, 4).code() == Code::kSystem);
    CHECK(device->allocate(Memory::kDevice, 8).code() == Code::kSystem);
  }
}

TEST_CASE("memory that is not of the device is refused, and its kind is known") {
  auto device = make_host_device();
  Memory4 memory{*device, {}};
  auto* mine = memory.words(16, Memory::kPinned);
  std::uint32_t foreign[16] = {};
  auto stream = device->make_stream();
  CHECK((*stream)->copy(mine, foreign, 4).code() == Code::kInvalid);
  CHECK((*stream)->copy(foreign, mine, 4).code() == Code::kInvalid);
  CHECK((*stream)->zero(mine + 8, 9 * 4).code() == Code::kInvalid);  // beyond its end
  CHECK((*stream)->zero(mine + 8, 8 * 4).ok());
  CHECK((*stream)->launch(Launch{}).code() == Code::kInvalid);
  CHECK(*device->kind_of(mine + 15) == Memory::kPinned);
  CHECK(device->kind_of(mine + 16).code() == Code::kInvalid);
  REQUIRE((*stream)->finish(bound()).ok());
  device->free(Memory::kPinned, mine);
  CHECK(device->kind_of(mine).code() == Code::kInvalid);
}

TEST_CASE("a stream that is dropped while it waits ends, and drops what it had not begun") {
  auto device = make_host_device();
  Memory4 memory{*device, {}};
  auto* out = memory.words(1);
  auto* cursor = memory.words(1);
  const Flag never = *device->make_flag();
  auto stream = device->make_stream();
  REQUIRE((*stream)->wait(never, 1).ok());
  REQUIRE((*stream)->launch(Launch::of(&append, Append{out, cursor, 1})).ok());
  const Instant begin = now();
  (*stream).reset();
  CHECK(now() - begin < Duration::from_s(5));
  CHECK(*cursor == 0);
}

TEST_CASE("the probe finds streams that hold up others by waiting, and leaves nothing behind") {
  Faults faults;
  CHECK_FALSE(*waits_stall(*make_host_device(faults)));
  faults.late = kLate;
  for (const std::uint64_t queues : {1, 3, 100}) {
    faults.queues = queues;
    const auto device = make_host_device(faults);
    for (int i = 0; i < 2; ++i) CHECK(*waits_stall(*device, Duration::from_ms(queues == 100 ? 20'000 : 50)) == (queues < 100));
    auto stream = device->make_stream();
    REQUIRE(stream.ok());
    CHECK((*stream)->finish(bound()).ok());
  }
  faults.fail_at = 1;
  CHECK(waits_stall(*make_host_device(faults)).code() == Code::kSystem);
}

TEST_CASE("what is lent is read elsewhere, also when its owner has freed it; other memory is not lent, and nothing else is opened") {
  const auto mine = make_host_device(), other = make_host_device();
  auto* memory = static_cast<std::uint32_t*>(*mine->allocate(Memory::kDevice, 40'000));
  void* pinned = *mine->allocate(Memory::kPinned, 64);
  for (std::uint32_t i = 0; i < 10'000; ++i) memory[i] = i * 7;
  const Result<Loan> loan = mine->lend(memory + 5'000);
  REQUIRE(loan.ok());
  CHECK(loan->offset == 20'000);
  CHECK(loan->bytes == 40'000);
  CHECK(mine->lend(memory)->id == loan->id);
  CHECK(mine->lend(pinned).code() == Code::kInvalid);
  CHECK(other->lend(memory).code() == Code::kInvalid);
  const Result<const std::byte*> opened = other->open(*loan);
  REQUIRE(opened.ok());
  CHECK(*other->kind_of(*opened + 39'999) == Memory::kDevice);
  memory[9'999] = 1;
  mine->free(Memory::kDevice, memory);
  CHECK(other->open(*loan).code() == Code::kUnavailable);
  void* next = *mine->allocate(Memory::kDevice, 40'000);  // its file has the number of the one that went
  CHECK(other->open(*loan).code() == Code::kUnavailable);
  mine->free(Memory::kDevice, next);
  std::uint32_t last = 0;
  std::memcpy(&last, *opened + 39'996, 4);
  CHECK(last == 1);
  other->close(*opened);
  CHECK(other->kind_of(*opened).code() == Code::kInvalid);
  Loan foreign = *loan;
  foreign.maker = 2;
  CHECK(other->open(foreign).code() == Code::kUnsupported);
  mine->free(Memory::kPinned, pinned);
}

// Members on one host device, frames moved by hand: every step begins late by a drawn delay; results of every kind of op, bytes
// that change on their way, frames that lie, jobs that are given up.
#include "runtime/exec/net_device.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <deque>
#include <functional>
#include <thread>

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/device/host_device.h"

using namespace regroup;

namespace {

constexpr Duration kBound = Duration::from_s(20);
using Word = std::uint64_t;
constexpr Word kPoison = 0xdeadbeefdeadbeef;

device::Faults late(std::uint64_t seed, std::int64_t us) {
  device::Faults faults;
  faults.seed = seed;
  faults.late = Duration::from_us(us);
  return faults;
}

struct One {
  std::shared_ptr<DevicePort> port;
  std::unique_ptr<NetDevice> device;
  Word *in, *result;
  algo::Plan plan;
};

struct Party {
  std::shared_ptr<device::Device> device;
  std::deque<One> all;
  std::size_t words, root = 0;
  Rng rng{3};
  std::function<void(std::byte*, std::size_t)> touch;  // what is done to a payload that has come

  Party(std::size_t n, std::size_t most_words, device::Faults faults, Duration patience = Duration::from_ms(5))
      : device(device::make_host_device(faults)), all(n), words(most_words) {
    for (One& one : all) {
      one.port = DevicePort::make(device, {}).value();
      one.device = std::make_unique<NetDevice>(one.port, patience);
      for (Word** at : {&one.in, &one.result}) *at = static_cast<Word*>(*device->allocate(device::Memory::kDevice, words * sizeof(Word)));
    }
  }
  ~Party() {
    for (One& one : all) {
      one.device.reset();
      one.port.reset();
      for (Word* at : {one.in, one.result}) device->free(device::Memory::kDevice, at);
    }
  }
  void begin(const OpDesc& desc) {
    for (std::size_t r = 0; r < all.size(); ++r) {
      One& one = all[r];
      algo::make_plan({desc, all.size(), r, root, nullptr, algo::spread_for(all.size(), false), nullptr}, one.plan);
      REQUIRE(one.device->begin({desc, &one.plan, r, all.size(), reinterpret_cast<std::byte*>(one.in), reinterpret_cast<std::byte*>(one.result)}).ok());
    }
  }
  // One frame from one to another, if there is one.
  void move(std::size_t from, std::size_t to, bool input) {
    tcp::Outgoing out;
    if (!all[from].device->next(to, input, out)) return;
    REQUIRE(out.opaque);
    std::byte* at = all[to].device->place(from, input, out.frame);
    REQUIRE(at != nullptr);
    std::memcpy(at, out.payload, out.frame.length);
    if (touch) touch(at, out.frame.length);
    all[to].device->arrived(from, input, out.frame);
  }
  bool turn(const std::function<bool()>& done) {
    for (const Instant until = now() + kBound; now() < until; std::this_thread::yield()) {
      for (One& one : all) REQUIRE(one.device->turn().ok());
      if (done()) return true;
      const std::size_t from = rng.below(all.size()), to = rng.below(all.size());
      if (from != to) move(from, to, rng.below(2) == 0);
    }
    return false;
  }
  bool complete() {
    return turn([this] { return std::all_of(all.begin(), all.end(), [](const One& o) { return o.device->complete(); }); });
  }
};

Word value(std::uint32_t op, std::size_t rank, std::size_t i) { return ((op * 7 + i) % 15 + 1) << (4 * rank); }

OpDesc desc_of(OpKind kind, std::size_t count) {
  OpDesc desc;
  desc.kind = kind;
  desc.type = DataType::kU64;
  desc.count = count;
  return desc;
}

void put(Party& party, std::uint32_t op) {
  for (std::size_t r = 0; r < party.all.size(); ++r) {
    for (std::size_t i = 0; i < party.words; ++i) party.all[r].in[i] = value(op, r, i);
    std::fill(party.all[r].result, party.all[r].result + party.words, kPoison);
  }
}

// What rank r must find at i of its output.
Word wanted(OpKind kind, std::uint32_t op, std::size_t n, std::size_t r, std::size_t count, std::size_t root, std::size_t i) {
  const auto sum = [&](std::size_t at) {
    Word all = 0;
    for (std::size_t m = 0; m < n; ++m) all += value(op, m, at);
    return all;
  };
  switch (kind) {
    case OpKind::kAllReduce: return sum(i);
    case OpKind::kReduceScatter: return sum(r * count + i);
    case OpKind::kAllGather: return value(op, i / count, i % count);
    case OpKind::kAllToAll: return value(op, i / count, r * count + i % count);
    case OpKind::kReduce: return r == root ? sum(i) : kPoison;
    default: return r == root ? kPoison : value(op, root, i);  // the root has it
  }
}

std::size_t words_out(OpKind kind, std::size_t n, std::size_t count) {
  return kind == OpKind::kAllGather || kind == OpKind::kAllToAll ? n * count : count;
}

}  // namespace

TEST_CASE("every kind of op, in one chunk and in many") {
  const OpKind kind = GENERATE(OpKind::kAllReduce, OpKind::kReduceScatter, OpKind::kAllGather, OpKind::kAllToAll, OpKind::kReduce, OpKind::kBroadcast);
  const std::size_t n = GENERATE(2, 3), count = GENERATE(5, 60'001);
  CAPTURE(static_cast<int>(kind), n, count);
  Party party(n, n * count, late(5, 20));
  for (std::uint32_t op = 1; op <= 3; ++op) {
    party.root = op % n;
    put(party, op);
    party.begin(desc_of(kind, count));
    REQUIRE(party.complete());
    std::size_t wrong = 0;
    for (std::size_t r = 0; r < n; ++r)
      for (std::size_t i = 0; i < words_out(kind, n, count); ++i) wrong += party.all[r].result[i] != wanted(kind, op, n, r, count, party.root, i);
    CHECK(wrong == 0);
  }
}

TEST_CASE("a byte that changes on its way is seen, whichever it is, and nothing is complete with it") {
  Party party(2, 100'000, late(6, 20));
  for (std::uint32_t op = 1; op <= 6; ++op) {
    std::size_t left = op;  // payloads until the one that changes
    party.touch = [&](std::byte* at, std::size_t bytes) {
      if (--left == 0) at[(op * 7919) % bytes] ^= std::byte{1};
    };
    put(party, op);
    party.begin(desc_of(OpKind::kAllReduce, party.words));
    std::optional<std::size_t> who;
    const bool seen = party.turn([&] {
      for (std::size_t r = 0; r < 2; ++r)
        if (party.all[r].device->corrupt()) who = r;
      return who.has_value();
    });
    REQUIRE(seen);
    CHECK(*party.all[*who].device->corrupt() == 1 - *who);
    CHECK(!party.all[*who].device->complete());
  }
  party.touch = nullptr;  // and the next one begins afresh
  put(party, 9);
  party.begin(desc_of(OpKind::kAllReduce, party.words));
  REQUIRE(party.complete());
  for (std::size_t i = 0; i < party.words; ++i) REQUIRE(party.all[1].result[i] == wanted(OpKind::kAllReduce, 9, 2, 1, 0, 0, i));
}

TEST_CASE("bytes that are seen late, as a GPU may see a network device's, are looked at again, and nothing is made of them before") {
  std::size_t left = GENERATE(1, 2, 3, 4, 5, 6);  // payloads until the one that is late
  Party party(2, 100'000, late(7, 20), kBound);
  std::byte* behind = nullptr;  // the byte that is not there yet
  party.touch = [&](std::byte* at, std::size_t bytes) {
    if (--left == 0) behind = at + bytes / 2, *behind ^= std::byte{1};
  };
  put(party, 1);
  party.begin(desc_of(OpKind::kAllReduce, party.words));
  Instant since = Instant::never();
  REQUIRE(party.turn([&] {
    if (behind != nullptr && since.is_never()) since = now();
    return !since.is_never() && now() - since > Duration::from_ms(10);
  }));
  *behind ^= std::byte{1};
  REQUIRE(party.complete());
  std::size_t wrong = 0;
  for (std::size_t r = 0; r < 2; ++r)
    for (std::size_t i = 0; i < party.words; ++i) wrong += party.all[r].result[i] != wanted(OpKind::kAllReduce, 1, 2, r, 0, 0, i);
  CHECK(wrong == 0);
}

TEST_CASE("a frame out of order or beyond its bounds has no place") {
  Party party(2, 10'000, {});
  put(party, 1);
  party.begin(desc_of(OpKind::kAllReduce, party.words));
  const algo::Plan& plan = party.all[0].plan;
  for (const bool input : {true, false}) {
    const std::size_t most = input ? plan.placed_bytes[0] : plan.takes[1].bytes;
    wire::Frame frame;
    const auto placed = [&](std::uint64_t offset, std::size_t length) {
      frame.offset = offset;
      frame.length = static_cast<std::uint32_t>(length);
      return party.all[0].device->place(1, input, frame) != nullptr;
    };
    CHECK(placed(0, most));
    CHECK(!placed(8, 8));
    CHECK(!placed(0, most + 1));
    CHECK(!placed(0, 0));
    CHECK(!placed(~std::uint64_t{0} - 3, 8));
  }
}

TEST_CASE("jobs that are given up in the middle leave nothing in those that follow") {
  Party party(3, 50'000, late(8, 200));
  for (std::uint32_t op = 1; op <= 8; ++op) {
    put(party, op);
    party.begin(desc_of(OpKind::kAllReduce, party.words));
    if (op % 2 != 0) {
      std::size_t turns = 0;
      (void)party.turn([&] { return ++turns == 40 * op; });
      for (One& one : party.all) (void)one.device->drop();
      for (One& one : party.all) REQUIRE(one.port->stream()->finish(now() + kBound).ok());  // inputs are given back then, as a stage does
      continue;
    }
    REQUIRE(party.complete());
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < party.words; ++i) wrong += party.all[op % 3].result[i] != wanted(OpKind::kAllReduce, op, 3, op % 3, 0, 0, i);
    CHECK(wrong == 0);
  }
}

TEST_CASE("memory of a job that was given up is nobody else's while its steps are under way") {
  Party party(2, 50'000, late(9, 3'000));
  put(party, 1);
  party.begin(desc_of(OpKind::kAllReduce, party.words));
  One& one = party.all[0];
  REQUIRE(one.device->turn().ok());  // digests of what is to be sent
  REQUIRE(one.device->busy());
  const std::size_t bytes = NetDevice::memory_for(one.plan, 0, 2);
  std::byte* const given = one.device->drop().get();
  CHECK(one.port->take(bytes)->get() != given);
  REQUIRE(one.port->stream()->finish(now() + kBound).ok());
  REQUIRE(one.port->turn().ok());
  const auto first = one.port->take(bytes).value(), second = one.port->take(bytes).value();
  CHECK((first.get() == given || second.get() == given));
}

TEST_CASE("two that share a port: what one gives up is not the other's") {
  Party party(2, 40'000, late(10, 200));
  put(party, 1);
  party.begin(desc_of(OpKind::kAllReduce, party.words));
  auto before = std::make_unique<NetDevice>(party.all[0].port);
  std::vector<Word> result(party.words);
  const One& one = party.all[0];
  const OpDesc desc = desc_of(OpKind::kAllReduce, party.words);
  REQUIRE(before->begin({desc, &one.plan, 0, 2, reinterpret_cast<std::byte*>(one.in), reinterpret_cast<std::byte*>(result.data())}).ok());
  for (int i = 0; i < 3; ++i) REQUIRE((before->turn().ok() && one.device->turn().ok()));
  before.reset();
  REQUIRE(party.complete());
}

TEST_CASE("a device that is lost says so") {
  device::Faults faults;
  faults.fail_at = 9;
  Party party(2, 1'000, faults);
  put(party, 1);
  party.begin(desc_of(OpKind::kAllReduce, party.words));
  bool lost = false;
  for (const Instant until = now() + kBound; !lost && now() < until; std::this_thread::yield())
    for (std::size_t r = 0; r < 2; ++r) {
      lost = lost || !party.all[r].device->turn();
      party.move(r, 1 - r, true);
      party.move(r, 1 - r, false);
    }
  CHECK(lost);
}

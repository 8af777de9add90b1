// NetRoute with frames moved by hand: members in one thread, links that deliver in any order between them (seeded). Every
// member's bits must be the same, and where every sum is exact, the reference's. Wrong frames are turned away.
#include "runtime/exec/net_route.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <deque>
#include <map>

#include "base/rng.h"
#include "tests/kernels/inputs.h"

using namespace regroup;
using regroup::testing::Buffer;
using regroup::testing::Flavour;

namespace {

struct Message {
  wire::Frame frame;
  std::vector<std::byte> payload;
};

struct Member {
  algo::Plan plan;
  algo::Route route;
  NetRoute hops;
  std::vector<std::byte> in, out, scratch;
};

struct World {
  std::size_t n;
  OpDesc desc;
  bool together;
  std::vector<Member> members;
  std::map<std::pair<std::size_t, std::size_t>, std::deque<Message>> links;
  Rng rng;

  World(algo::Form form, std::size_t members_count, OpDesc d, bool parcels, const std::vector<Buffer>& inputs)
      : n(members_count), desc(d), together(parcels), members(n), rng(n + d.count) {
    for (std::size_t i = 0; i < n; ++i) {
      Member& m = members[i];
      const algo::Request request{desc, n, i, 0, nullptr, algo::Spread::kRoot};
      algo::make_plan(request, m.plan);
      algo::make_route(request, m.plan, form, m.route);
      m.in.resize(inputs[i].size());
      if (!inputs[i].empty()) std::memcpy(m.in.data(), inputs[i].data(), inputs[i].size());
      m.out.assign(m.plan.output_bytes, std::byte{0x5a});
      m.scratch.assign(m.route.scratch_bytes, std::byte{0xa5});
    }
    for (std::size_t i = 0; i < n; ++i) {
      Member& m = members[i];
      m.hops.begin(m.route, desc, i, n, {m.in.data(), m.out.data(), m.scratch.data()}, together);
    }
  }

  bool send(std::size_t a, std::size_t b) {
    if (a == b) return false;
    Message message;
    if (together) {
      const auto parcel = members[a].hops.parcel(b);
      if (!parcel) return false;
      message.payload.assign(parcel->begin(), parcel->end());
      members[a].hops.parcel_sent(b);
    } else {
      tcp::Outgoing out;
      if (!members[a].hops.next(b, out)) return false;
      if (wire::checksum({out.payload, out.frame.length}) != out.frame.payload_sum) throw "a wrong checksum";
      message.frame = out.frame;
      message.payload.assign(out.payload, out.payload + out.frame.length);
    }
    links[{a, b}].push_back(std::move(message));
    return true;
  }
  bool deliver(std::size_t a, std::size_t b) {
    std::deque<Message>& link = links[{a, b}];
    if (link.empty()) return false;
    const Message& message = link.front();
    NetRoute& hops = members[b].hops;
    if (together) {
      REQUIRE(message.payload.size() == hops.parcel_bytes(a));
      hops.parcel_came(a, message.payload);
    } else {
      std::byte* to = hops.place(a, message.frame);
      REQUIRE(to != nullptr);
      std::memcpy(to, message.payload.data(), message.payload.size());
      hops.arrived(a, message.frame);
    }
    link.pop_front();
    return true;
  }
  bool done() const {
    for (const Member& m : members)
      if (!m.hops.made() || !m.hops.folded()) return false;
    return true;
  }
  bool run() {
    for (int quiet = 0; quiet < 50;) {
      bool moved = false;
      for (std::size_t tries = 0; tries < 4 * n; ++tries) {
        const std::size_t a = rng.below(n), b = rng.below(n);
        moved |= rng.below(2) == 0 ? send(a, b) : deliver(a, b);
        if (rng.below(2) == 0) moved |= members[a].hops.produce();
      }
      quiet = moved ? 0 : quiet + 1;
    }
    return done();
  }
};

OpDesc all_reduce(DataType type, ReduceOp op, std::size_t count) {
  OpDesc desc;
  desc.kind = OpKind::kAllReduce;
  desc.type = type;
  desc.reduce = op;
  desc.count = count;
  return desc;
}

}  // namespace

TEST_CASE("rings and doublings: all members have the same bits, and where sums are exact, the reference's") {
  const std::pair<DataType, ReduceOp> kinds[] = {{DataType::kF32, ReduceOp::kSum},  {DataType::kF32, ReduceOp::kAvg},
                                                 {DataType::kF64, ReduceOp::kProd}, {DataType::kBF16, ReduceOp::kSum},
                                                 {DataType::kI32, ReduceOp::kAvg},  {DataType::kU8, ReduceOp::kMax}};
  for (const algo::Form form : {algo::Form::kRing, algo::Form::kDoubling})
    for (const auto& [type, op] : kinds)
      for (const std::size_t n : {2u, 3u, 4u, 5u, 7u, 8u, 13u})
        for (const std::size_t count : {1u, 65u, 4001u, 150'001u})
          for (const bool exact : {true, false})
            for (const bool together : {false, true}) {
              if (together && (form == algo::Form::kRing || count > 5000)) continue;
              if (count > 100'000 && (n > 5 || type != DataType::kF32)) continue;
              const Flavour flavour = exact ? Flavour::kSmallIntegers : Flavour::kCorners;
              const auto inputs = testing::make_inputs(type, flavour, count, n, n + count);
              World world(form, n, all_reduce(type, op, count), together, inputs);
              CAPTURE(name_of(form), name_of(type), name_of(op), n, count, exact, together);
              REQUIRE(world.run());
              for (const Member& m : world.members) {
                REQUIRE(m.out == world.members[0].out);
                REQUIRE(std::memcmp(m.in.data(), inputs[&m - world.members.data()].data(), m.in.size()) == 0);
              }
              if (!exact || op == ReduceOp::kProd) continue;
              const Buffer want = testing::reference_reduce(type, op, inputs);
              REQUIRE(std::memcmp(world.members[0].out.data(), want.data(), want.size()) == 0);
            }
}

TEST_CASE("a barrier of hops ends at a member only when a message of every other one has reached it, by whatever way") {
  for (std::size_t n = 2; n <= 9; ++n)
    for (std::size_t silent = 0; silent < n; ++silent) {
      OpDesc desc;
      desc.kind = OpKind::kBarrier;
      World world(algo::Form::kGather, n, desc, true, std::vector<Buffer>(n));
      for (int rounds = 0; rounds < 20; ++rounds)
        for (std::size_t a = 0; a < n; ++a)
          for (std::size_t b = 0; b < n; ++b)
            if (a != silent) world.send(a, b), world.deliver(a, b);
      for (std::size_t m = 0; m < n; ++m)
        if (m != silent) CHECK_FALSE(world.members[m].hops.made());
      CHECK(world.run());
    }
}

TEST_CASE("frames that are not what must come next have no place: another hop, offset, size or sender") {
  const auto inputs = testing::make_inputs(DataType::kF32, Flavour::kSmallIntegers, 300'000, 3, 1);
  World world(algo::Form::kRing, 3, all_reduce(DataType::kF32, ReduceOp::kSum, 300'000), false, inputs);
  tcp::Outgoing out;
  REQUIRE(world.members[0].hops.next(1, out));
  const NetRoute& hops = world.members[1].hops;
  CHECK(hops.place(0, out.frame) != nullptr);
  CHECK(hops.place(2, out.frame) == nullptr);
  const auto with = [&](auto change) {
    wire::Frame frame = out.frame;
    change(frame);
    return hops.place(0, frame);
  };
  CHECK(with([](wire::Frame& f) { f.chunk = 1; }) == nullptr);
  CHECK(with([](wire::Frame& f) { f.offset = 4; }) == nullptr);
  CHECK(with([](wire::Frame& f) { f.length = 0; }) == nullptr);
  CHECK(with([](wire::Frame& f) { f.length = 400'001; }) == nullptr);
}

// NetPairs with frames moved by hand: what an epoch loses, and what is asked for anew, at exact moments.
#include "runtime/exec/net_pairs.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>

using namespace regroup;

namespace {

View view_of(Epoch epoch) {
  View view;
  view.epoch = epoch;
  for (std::uint32_t i = 0; i < 2; ++i) {
    MemberInfo member;
    member.id = {i, 0};
    member.inc = {7, i + 1};
    view.members.push_back(member);
  }
  return view;
}

struct Side {
  std::size_t self;
  NetStaging staging;
  PairBook book;
  std::unique_ptr<NetPairs> pairs;

  void enter(Epoch epoch) {
    const View view = view_of(epoch);
    book.enter(view, self);
    pairs = std::make_unique<NetPairs>(staging, 1u << 20, std::vector<Incarnation>{view.members[1 - self].inc});
    pairs->enter(book);
  }
  [[nodiscard]] std::shared_ptr<PairEnd> end() const { return book.with(view_of(1).members[1 - self].inc); }
};

struct World {
  Side sender{0, {}, {}, {}}, receiver{1, {}, {}, {}};
  std::atomic<std::uint32_t> stop{0};
  Failpoints failpoints;
  ExecContext context;

  World() {
    context.stop = &stop;
    context.failpoints = &failpoints;
    enter(1);
  }
  void enter(Epoch epoch) { sender.enter(epoch), receiver.enter(epoch); }
  bool step(Side& side, PairMessage& m) {
    PairMessage* one[] = {&m};
    return side.pairs->step(one, context);
  }
  // Everything that `from` has to say now, but for the types that are lost. True: something arrived.
  bool carry(Side& from, Side& to, const std::function<bool(const wire::Frame&)>& lost = {}) {
    bool moved = false;
    for (tcp::Outgoing out; from.pairs->next(0, out);) {
      if (lost && lost(out.frame)) continue;
      const tcp::Placement at = to.pairs->place(0, out.frame);
      REQUIRE((at.take == tcp::Take::kInto || at.take == tcp::Take::kDiscard));
      if (at.take == tcp::Take::kDiscard) continue;
      if (out.frame.length != 0) std::memcpy(at.into, out.payload, out.frame.length);
      REQUIRE(to.pairs->arrived(0, out.frame));
      moved = true;
    }
    return moved;
  }
  void start(PairMessage& m, Side& side, bool send, std::vector<std::uint8_t>& buffer) {
    m.send = send;
    m.count = buffer.size();
    m.in = send ? reinterpret_cast<const std::byte*>(buffer.data()) : nullptr;
    m.out = send ? nullptr : reinterpret_cast<std::byte*>(buffer.data());
    m.bound = true;
    m.pair = side.end();
    m.number = send ? m.pair->counter.post_send() : m.pair->counter.post_recv();
  }
  // Both work and talk until neither has anything to say.
  void settle(PairMessage& sent, PairMessage& got) {
    for (int i = 0; i < 10; ++i) {
      if (!sent.done) step(sender, sent);
      if (!got.done) step(receiver, got);
      carry(sender, receiver);
      carry(receiver, sender);
    }
  }
};

std::vector<std::uint8_t> bytes(std::size_t count) {
  std::vector<std::uint8_t> out(count);
  for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + 3);
  return out;
}

}  // namespace

TEST_CASE("what was settled is told again in the next epoch, by a sender that has nothing more to do") {
  World world;
  std::vector<std::uint8_t> out = bytes(500), in(500, 0xEE);
  PairMessage sent, got;
  world.start(sent, world.sender, true, out);
  world.start(got, world.receiver, false, in);
  for (int i = 0; i < 5 && !sent.done; ++i) {
    world.step(world.receiver, got);
    world.carry(world.receiver, world.sender);
    world.step(world.sender, sent);
    world.carry(world.sender, world.receiver, [](const wire::Frame& f) { return f.type == NetPairs::kSettled; });
  }
  REQUIRE(sent.done);  // the caller has its buffer back, and may never come again
  REQUIRE(got.prepared);
  world.step(world.receiver, got);
  REQUIRE_FALSE(got.done);
  world.enter(2);
  got.stage = 0;
  for (int i = 0; i < 3; ++i) {
    world.step(world.receiver, got);
    world.carry(world.receiver, world.sender);
    world.carry(world.sender, world.receiver);
  }
  CHECK(got.done);
  CHECK(in == out);
}

TEST_CASE("what was prepared in one epoch is told again in the next, without its bytes") {
  World world;
  std::vector<std::uint8_t> out = bytes(500), in(500, 0xEE);
  PairMessage sent, got;
  world.start(sent, world.sender, true, out);
  world.start(got, world.receiver, false, in);
  for (int i = 0; i < 5 && !got.prepared; ++i) {
    world.step(world.receiver, got);
    world.carry(world.receiver, world.sender, [](const wire::Frame& f) { return f.type == NetPairs::kPrepared; });
    world.step(world.sender, sent);
    world.carry(world.sender, world.receiver);
  }
  REQUIRE(got.prepared);
  REQUIRE_FALSE(sent.done);
  world.enter(2);
  sent.stage = got.stage = 0;
  bool resent = false;
  for (int i = 0; i < 4; ++i) {
    world.step(world.receiver, got);
    world.carry(world.receiver, world.sender);
    if (!sent.done) world.step(world.sender, sent);
    world.carry(world.sender, world.receiver, [&](const wire::Frame& f) {
      resent = resent || f.type == NetPairs::kData;
      return false;
    });
  }
  CHECK(sent.done);
  CHECK(got.done);
  CHECK_FALSE(resent);
  CHECK(in == out);
}

TEST_CASE("a number that is asked for anew with another shape gets the answer to the second question") {
  const std::size_t first = GENERATE(100u, 90u, 0u), second = GENERATE(90u, 100u, 2'000'000u);
  const bool head_first = GENERATE(true, false);  // the old answer's head comes before the recv is taken back
  CAPTURE(first, second, head_first);
  World world;
  std::vector<std::uint8_t> out = bytes(90), taken(first, 0xEE), in(second, 0xEE);
  PairMessage sent, back, got;
  world.start(sent, world.sender, true, out);
  world.start(back, world.receiver, false, taken);
  world.step(world.receiver, back);
  world.carry(world.receiver, world.sender);
  world.step(world.sender, sent);  // has its answer ready, or on its way
  if (head_first) {
    tcp::Outgoing head;
    REQUIRE(world.sender.pairs->next(0, head));
    REQUIRE(head.frame.type == NetPairs::kHead);
    REQUIRE(world.receiver.pairs->arrived(0, head.frame));
  }
  world.receiver.end()->counter.cancel_recv();
  world.start(got, world.receiver, false, in);
  CHECK(got.number == back.number);
  world.step(world.receiver, got);
  world.carry(world.sender, world.receiver);  // what was on its way
  world.settle(sent, got);
  CHECK(sent.done);
  CHECK(got.done);
  CHECK(sent.verdict == got.verdict);
  CHECK(got.verdict == (second == 90 ? Code::kOk : Code::kMismatch));
  if (second == 90)
    CHECK(in == out);
  else
    CHECK(in == std::vector<std::uint8_t>(second, 0xEE));
  CHECK(taken == std::vector<std::uint8_t>(first, 0xEE));
}

// send and recv: messages that only their two ends call. What arrives, what may be pending together, what differs.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

MemberId id(int rank) { return {static_cast<std::uint32_t>(rank), 0}; }

// Bytes of message `number` from one rank to another, in a buffer with a guard on each side.
struct Bytes {
  std::vector<std::uint8_t> all;
  std::size_t at, count;
  Bytes(std::size_t bytes, std::size_t skew) : all(bytes + skew + 64, 0xEE), at(skew), count(bytes) {}
  [[nodiscard]] std::uint8_t* data() { return all.data() + at; }
  static std::uint8_t byte(int from, int to, std::uint64_t number, std::size_t i) {
    return static_cast<std::uint8_t>(coefficient(number * 64 + static_cast<std::uint64_t>(from * 8 + to), i) * 17 + i);
  }
  Bytes& fill(int from, int to, std::uint64_t number) {
    for (std::size_t i = 0; i < count; ++i) data()[i] = byte(from, to, number, i);
    return *this;
  }
  // Exactly that message, and nothing beside it.
  [[nodiscard]] bool holds(int from, int to, std::uint64_t number) const {
    Bytes want(count, at);
    return all == want.fill(from, to, number).all;
  }
  [[nodiscard]] bool untouched() const { return all == Bytes(count, at).all; }
};

std::string text(const Result<Outcome>& got) {
  return got ? "" : std::string(code_name(got.code())) + " " + got.error().detail + "; ";
}

}  // namespace

TEST_CASE("members exchange in pairs, both directions at once, any count and any address") {
  const std::string transport = GENERATE(from_range(transports()));
  const bool grouped = GENERATE(true, false);
  CAPTURE(transport, grouped);
  World world(transport, 4);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    std::uint64_t number = 0;
    for (const std::size_t bytes : {0u, 1u, 7u, 2048u, 2049u, 65'536u, 3'000'001u})
      for (const int apart : {1, 2, 3}) {
        const int peer = rank ^ apart;
        ++number;
        Bytes out(bytes, number % 5), in(bytes, number % 3);
        out.fill(rank, peer, number);
        if (grouped) (void)group.group_start();
        Work sent = group.send_async(bytes == 0 ? nullptr : out.data(), bytes, DataType::kU8, id(peer));
        Work got = group.recv_async(bytes == 0 ? nullptr : in.data(), bytes, DataType::kU8, id(peer));
        if (grouped) (void)group.group_end();
        const Result<Outcome> s = sent.wait(), r = got.wait();
        if (!s || !r) return text(s) + text(r);
        if (r->op != s->op || r->op != (number + 2) / 3)
          return "numbers " + std::to_string(s->op) + " " + std::to_string(r->op);
        if (!in.holds(peer, rank, number)) return "wrong bytes of " + std::to_string(bytes);
        if (!out.holds(rank, peer, number)) return std::string("the input was changed");
      }
    return std::string();
  });
  CHECK(wrong == std::vector<std::string>(4));
}

TEST_CASE("blocking sends and receives go round a ring, and between them collectives go on") {
  const std::string transport = GENERATE(from_range(transports()));
  const int members = GENERATE(2, 3);
  CAPTURE(transport, members);
  World world(transport, members);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    const int to = (rank + 1) % members, from = (rank + members - 1) % members;
    for (std::uint64_t number = 1; number <= 60; ++number) {
      const std::size_t bytes = number % 7 == 0 ? 200'000 : number * 3;
      Bytes out(bytes, 1), in(bytes, 2);
      out.fill(rank, to, number);
      const bool first = rank == 0;
      if (first)
        if (std::string t = text(group.send(out.data(), bytes, DataType::kU8, id(to))); !t.empty()) return t;
      if (std::string t = text(group.recv(in.data(), bytes, DataType::kU8, id(from))); !t.empty()) return t;
      if (!first)
        if (std::string t = text(group.send(out.data(), bytes, DataType::kU8, id(to))); !t.empty()) return t;
      if (!in.holds(from, rank, number)) return "wrong bytes in round " + std::to_string(number);
      if (number % 5 != 0) continue;
      const Seen seen = one_op(group, rank, number, number * 100);
      if (seen.code != Code::kOk || !seen.wrong.empty()) return seen.detail + seen.wrong;
    }
    return std::string();
  });
  CHECK(wrong == std::vector<std::string>(static_cast<std::size_t>(members)));
}

TEST_CASE("hundreds may be pending: all sends before all receives, ends in the order of the calls") {
  const std::string transport = GENERATE(from_range(transports()));
  const int members = GENERATE(2, 3);
  World world(transport, members, [](int, Options& options) { options.staging_bytes = 1u << 20; });
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    constexpr std::uint64_t kEach = 150;
    const auto size = [](std::uint64_t n) { return n % 50 == 0 ? 900'000 : n * n % 5'000; };
    std::vector<Bytes> outs, ins;
    std::vector<Work> works;
    for (std::uint64_t n = 1; n <= kEach; ++n)
      for (int peer = 0; peer < members; ++peer)
        if (peer != rank) outs.push_back(std::move(Bytes(size(n), n % 3).fill(rank, peer, n)));
    for (std::uint64_t n = 1; n <= kEach; ++n)
      for (int peer = 0; peer < members; ++peer)
        if (peer != rank) ins.emplace_back(size(n), n % 2);
    std::size_t at = 0;
    for (std::uint64_t n = 1; n <= kEach; ++n)
      for (int peer = 0; peer < members; ++peer)
        if (peer != rank) works.push_back(group.send_async(outs[at++].data(), size(n), DataType::kU8, id(peer)));
    at = 0;
    for (std::uint64_t n = 1; n <= kEach; ++n)
      for (int peer = 0; peer < members; ++peer)
        if (peer != rank) works.push_back(group.recv_async(ins[at++].data(), size(n), DataType::kU8, id(peer)));
    std::string bad;
    for (Work& work : works) bad += text(work.wait());
    at = 0;
    for (std::uint64_t n = 1; bad.empty() && n <= kEach; ++n)
      for (int peer = 0; peer < members; ++peer)
        if (peer != rank && !ins[at++].holds(peer, rank, n)) bad = "wrong bytes in message " + std::to_string(n);
    return bad;
  });
  CHECK(wrong == std::vector<std::string>(static_cast<std::size_t>(members)));
}

TEST_CASE("a group of sends, receives and collectives is launched as one, wherever each member has them in it") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    const int to = (rank + 1) % 3, from = (rank + 2) % 3;
    for (std::uint64_t round = 1; round <= 10; ++round) {
      Bytes out(10'000 * round, 1), in(10'000 * round, 3);
      out.fill(rank, to, round);
      std::vector<std::uint64_t> a(round), b(round * 1'000);
      fill(a, rank, round), fill(b, rank, round + 100);
      std::vector<Work> works;
      (void)group.group_start();
      const auto reduce = [&](std::vector<std::uint64_t>& x) {
        works.push_back(group.all_reduce_async(x.data(), x.data(), x.size(), DataType::kU64, ReduceOp::kSum));
      };
      if (rank == 1) works.push_back(group.recv_async(in.data(), in.count, DataType::kU8, id(from)));
      reduce(a);
      if (rank != 2) works.push_back(group.send_async(out.data(), out.count, DataType::kU8, id(to)));
      if (rank != 1) works.push_back(group.recv_async(in.data(), in.count, DataType::kU8, id(from)));
      reduce(b);
      if (rank == 2) works.push_back(group.send_async(out.data(), out.count, DataType::kU8, id(to)));
      (void)group.group_end();
      Outcome of;
      for (Work& work : works) {
        const Result<Outcome> got = work.wait();
        if (!got) return text(got);
        of = *got;
      }
      if (!in.holds(from, rank, round)) return std::string("wrong bytes");
      if (std::string w = wrong_sum(of, a, round) + wrong_sum(of, b, round + 100); !w.empty()) return w;
    }
    return std::string();
  });
  CHECK(wrong == std::vector<std::string>(3));
}

TEST_CASE("ends that differ in count or type both get kMismatch, buffers intact, and the next message is as ever") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string what = GENERATE(as<std::string>{}, "count", "type", "none sent", "large against small");
  CAPTURE(transport, what);
  World world(transport, 3);
  REQUIRE(world.start() == "");
  struct End {
    Code code = Code::kOk, next = Code::kOk;
    std::string detail;
    bool intact = false, right = false;
  };
  const auto ends = World::each({0, 1}, [&](int rank) {
    Group& group = world.at(rank);
    const bool sends = rank == 0;
    const std::size_t mine = !sends                ? 1'000
                             : what == "count"     ? 999
                             : what == "none sent" ? 0
                             : what == "type"      ? 1'000
                                                   : 100'000;
    Bytes buffer(mine, 1), next(500, 2);
    if (sends) buffer.fill(0, 1, 1), next.fill(0, 1, 2);
    const DataType type = sends && what == "type" ? DataType::kI8 : DataType::kU8;
    Result<Outcome> got =
        sends ? group.send(buffer.data(), mine, type, id(1)) : group.recv(buffer.data(), mine, type, id(0));
    End end;
    end.code = got.code();
    if (!got) end.detail = got.error().detail;
    end.intact = sends ? buffer.holds(0, 1, 1) : buffer.untouched();
    got =
        sends ? group.send(next.data(), 500, DataType::kU8, id(1)) : group.recv(next.data(), 500, DataType::kU8, id(0));
    end.next = got.code();
    end.right = next.holds(0, 1, 2) && got && got->op == 2;
    return end;
  });
  for (const End& end : ends) {
    CAPTURE(end.detail);
    CHECK(code_name(end.code) == std::string("kMismatch"));
    CHECK(end.detail.find('0') != std::string::npos);
    CHECK(end.detail.find('1') != std::string::npos);
    CHECK(end.intact);
    CHECK(end.next == Code::kOk);
    CHECK(end.right);
  }
  const auto after = World::each(world.ranks(), [&](int rank) { return one_op(world.at(rank), rank, 1).epoch; });
  CHECK(after == std::vector<Epoch>(3, 1));
}

TEST_CASE("a message over staging_bytes fails with kNoMemory at both ends, and what fits goes on") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, [](int, Options& options) { options.staging_bytes = 1u << 20; });
  REQUIRE(world.start() == "");
  const auto codes = World::each({0, 1}, [&](int rank) {
    Group& group = world.at(rank);
    std::vector<Code> got;
    for (const std::size_t bytes : {2u << 20, 1u << 20, 10u}) {
      Bytes buffer(bytes, 0);
      if (rank == 0) buffer.fill(0, 1, 1);
      const Result<Outcome> one = rank == 0 ? group.send(buffer.data(), bytes, DataType::kU8, id(1))
                                            : group.recv(buffer.data(), bytes, DataType::kU8, id(0));
      got.push_back(one.code());
      if (rank == 1 && !(one ? buffer.holds(0, 1, 1) : buffer.untouched())) got.push_back(Code::kInvalid);
    }
    return got;
  });
  const std::vector<Code> want = {Code::kNoMemory, Code::kOk, Code::kOk};
  CHECK(codes == std::vector<std::vector<Code>>{want, want});
}

TEST_CASE("a message that makes no sense is kInvalid at once") {
  World world("shm", 2);
  REQUIRE(world.start() == "");
  Group& group = world.at(0);
  std::uint8_t byte = 0;
  CHECK(group.send(&byte, 1, DataType::kU8, id(0)).code() == Code::kInvalid);
  CHECK(group.send(&byte, 1, DataType::kU8, id(2)).code() == Code::kInvalid);
  CHECK(group.send(&byte, 1, DataType::kU8, {1, 1}).code() == Code::kInvalid);
  CHECK(group.send(nullptr, 1, DataType::kU8, id(1)).code() == Code::kInvalid);
  CHECK(group.recv(nullptr, 1, DataType::kU8, id(1)).code() == Code::kInvalid);
  CHECK(group.recv(&byte, std::size_t{1} << 50, DataType::kU8, id(1)).code() == Code::kInvalid);
  CHECK(group.recv(&byte, 1, static_cast<DataType>(99), id(1)).code() == Code::kInvalid);
  REQUIRE(group.group_start().ok());
  CHECK(group.recv(&byte, 1, DataType::kU8, id(1)).code() == Code::kInvalid);
  REQUIRE(group.group_end().ok());
}

TEST_CASE("a wait for a message that nobody sends is bounded, the message stays pending, and close ends it") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2);
  REQUIRE(world.start() == "");
  Bytes in(100, 0), never(100, 0), out(100, 0);
  out.fill(0, 1, 1);
  Work got = world.at(1).recv_async(in.data(), 100, DataType::kU8, id(0));
  CHECK(got.wait(0.05).code() == Code::kTimeout);
  const auto sent = World::each({0, 1}, [&](int rank) {
    return rank == 0 ? world.at(0).send(out.data(), 100, DataType::kU8, id(1)).code() : got.wait().code();
  });
  CHECK(sent == std::vector<Code>(2, Code::kOk));
  CHECK(in.holds(0, 1, 1));
  Work open = world.at(1).recv_async(never.data(), 100, DataType::kU8, id(0));
  CHECK(open.wait(0.02).code() == Code::kTimeout);
  world.drop(1);
  CHECK(open.wait(1).code() == Code::kClosed);
  CHECK(never.untouched());
}

// Messages that are taken back: a recv that nobody answers, recvs among others, sends that have not begun.
#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "base/clock.h"
#include "base/rng.h"
#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

MemberId id(int rank) { return {static_cast<std::uint32_t>(rank), 0}; }

std::vector<std::uint64_t> message(std::size_t count, OpId number) {
  std::vector<std::uint64_t> out(count);
  fill(out, 2, number);
  return out;
}

}  // namespace

TEST_CASE("a recv that is taken back ends at once, and the message goes to the next one, whatever its shape") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t first = GENERATE(0u, 10u, 60'000u), then = GENERATE(0u, 10u, 90'000u);
  const bool sent_before = GENERATE(true, false);
  CAPTURE(transport, first, then, sent_before);
  World world(transport, 2);
  REQUIRE(world.start() == "");
  std::vector<std::uint64_t> taken(first, kPoison), in(then, kPoison), out = message(then, 5);
  Work send;
  if (sent_before && first != then)
    send = world.at(0).send_async(out.data(), then, DataType::kI64, id(1));  // another type
  Work back = world.at(1).recv_async(taken.data(), first, DataType::kU64, id(0));
  if (sent_before && first != then) {
    CHECK(back.wait(5).code() == Code::kMismatch);  // it was there: both have it behind them
    CHECK(send.wait(5).code() == Code::kMismatch);
    back.cancel();
    CHECK(back.wait().code() == Code::kMismatch);
    back = world.at(1).recv_async(taken.data(), first, DataType::kU64, id(0));
  }
  CHECK(back.wait(0.02).code() == Code::kTimeout);
  back.cancel();
  CHECK(back.wait(5).code() == Code::kCancelled);
  CHECK(untouched(taken));
  const auto codes = World::each({0, 1}, [&](int rank) {
    const Result<Outcome> got = rank == 0 ? world.at(0).send(out.data(), then, DataType::kU64, id(1))
                                          : world.at(1).recv(in.data(), then, DataType::kU64, id(0));
    return got ? got->op : 0;
  });
  CHECK(codes == std::vector<OpId>(2, sent_before && first != then ? 2 : 1));
  CHECK(in == out);
  CHECK(untouched(taken));
}

TEST_CASE("of several recvs any may be taken back, and those behind it move up") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t which = GENERATE(0u, 1u, 2u, 3u);
  CAPTURE(transport, which);
  World world(transport, 2);
  REQUIRE(world.start() == "");
  const std::size_t counts[] = {7, 40'000, 0, 3'000};
  std::vector<std::vector<std::uint64_t>> in;
  std::vector<Work> works;
  for (std::size_t c : counts) in.emplace_back(c, kPoison);
  for (std::size_t k = 0; k < 4; ++k)
    works.push_back(world.at(1).recv_async(in[k].data(), counts[k], DataType::kU64, id(0)));
  CHECK(works[0].wait(0.02).code() == Code::kTimeout);
  works[which].cancel();
  CHECK(works[which].wait(5).code() == Code::kCancelled);
  std::vector<std::vector<std::uint64_t>> out;
  std::vector<Work> sends;
  for (std::size_t k = 0; k < 4; ++k)
    if (k != which) out.push_back(message(counts[k], k));
  for (auto& m : out) sends.push_back(world.at(0).send_async(m.data(), m.size(), DataType::kU64, id(1)));
  std::size_t at = 0;
  for (std::size_t k = 0; k < 4; ++k) {
    if (k == which) continue;
    const Result<Outcome> got = works[k].wait(kBound_s);
    CAPTURE(k);
    REQUIRE(got.code() == Code::kOk);
    CHECK(got->op == at + 1);
    CHECK(in[k] == out[at]);
    CHECK(sends[at++].wait(kBound_s).code() == Code::kOk);
  }
  CHECK(untouched(in[which]));
}

TEST_CASE("recvs that are taken back while messages stream in lose none, repeat none and keep their order") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::uint64_t seed = GENERATE(1u, 2u, 3u, 4u);
  CAPTURE(transport, seed);
  World world(transport, 2);
  REQUIRE(world.start() == "");
  constexpr OpId kMessages = 120;
  const std::size_t count = seed % 2 == 0 ? 90'000 : 50;
  std::atomic<std::size_t> cancelled{0};
  std::atomic<bool> listening{false};
  const auto wrong = World::each({0, 1}, [&](int rank) -> std::string {
    Group& group = world.at(rank);
    if (rank == 0) {
      if (!eventually([&] { return listening.load(); })) return "nobody listens";
      for (OpId n = 1; n <= kMessages; ++n) {
        const auto out = message(count, n);
        if (const auto sent = group.send(out.data(), count, DataType::kU64, id(1)); !sent || sent->op != n)
          return "send " + std::to_string(n) + ": " + code_name(sent.code());
      }
      return "";
    }
    Rng rng(seed);
    struct Pending {
      std::vector<std::uint64_t> in;
      Work work;
    };
    std::vector<std::unique_ptr<Pending>> pending;
    OpId next = 1;
    const auto post = [&] {
      pending.push_back(std::make_unique<Pending>());
      pending.back()->in.assign(count, kPoison);
      pending.back()->work = group.recv_async(pending.back()->in.data(), count, DataType::kU64, id(0));
    };
    for (int i = 0; i < 4; ++i) post();
    for (const std::size_t k : {3u, 1u}) {  // nothing is on its way yet
      pending[k]->work.cancel();
      if (pending[k]->work.wait(kBound_s).code() != Code::kCancelled || !untouched(pending[k]->in)) return "not taken back";
      pending.erase(pending.begin() + static_cast<std::ptrdiff_t>(k));
      cancelled.fetch_add(1);
    }
    listening.store(true);
    while (next <= kMessages) {
      while (pending.size() < 6 && next + pending.size() <= kMessages) post();
      if (rng.below(2) == 0) pending[rng.below(pending.size())]->work.cancel();
      if (rng.below(4) == 0) std::this_thread::yield();
      const Result<Outcome> got = pending.front()->work.wait(kBound_s);
      const std::vector<std::uint64_t>& in = pending.front()->in;
      if (got.code() == Code::kCancelled) {
        if (!untouched(in)) return "taken back and touched";
        cancelled.fetch_add(1);
      } else if (!got) {
        return code_name(got.code());
      } else {
        if (got->op != next || in != message(count, next)) return "not message " + std::to_string(next);
        ++next;
      }
      pending.erase(pending.begin());
    }
    return "";
  });
  CHECK(wrong == std::vector<std::string>(2));
  CHECK(cancelled.load() >= 2);  // and those that the stream leaves the time for
}

TEST_CASE("a recv that is taken back in the middle of a message leaves it to the next, which may differ from it") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, [](int, Options& options) { options.staging_bytes = 8u << 20; });
  REQUIRE(world.start() == "");
  constexpr std::size_t kCount = 900'000;
  constexpr int kRounds = 12;
  std::atomic<int> taken_back{0};
  std::atomic<bool> asked{false};  // rank 1, in the first round
  const auto wrong = World::each({0, 1}, [&](int rank) -> std::string {
    Group& group = world.at(rank);
    for (int round = 1; round <= kRounds; ++round) {
      const auto out = message(kCount, static_cast<OpId>(round));
      if (!group.barrier()) return "barrier";
      const std::size_t other = round % 3 == 0   ? kCount
                                : round % 3 == 1 ? 10
                                                 : 2 * kCount;  // the last: over the staging
      const Code want = round % 3 == 0 ? Code::kOk : Code::kMismatch;
      Code code;
      if (rank == 0) {
        const Instant bound = now() + Duration::from_s(kBound_s);
        while (round == 1 && !asked.load() && now() < bound) std::this_thread::yield();  // once for certain
        code = group.send(out.data(), kCount, DataType::kU64, id(1)).code();
        if (code != want && code != Code::kOk) return code_name(code);
      } else {
        std::vector<std::uint64_t> first(kCount, kPoison), second(other, kPoison);
        Work begun = group.recv_async(first.data(), kCount, DataType::kU64, id(0));
        if (round > 1) (void)begun.wait(0.0003 * (round - 1)).ok();
        begun.cancel();
        asked.store(true);
        const Result<Outcome> got = begun.wait(kBound_s);
        if (got.ok() && first != out) return "wrong bytes";
        if (got.ok()) continue;
        if (got.code() != Code::kCancelled || !untouched(first))
          return "taken back: " + std::string(code_name(got.code()));
        taken_back.fetch_add(1);
        const Result<Outcome> next = group.recv(second.data(), other, DataType::kU64, id(0));
        if (next.code() != want) return std::string("the next: ") + code_name(next.code());
        if (next.ok() ? second != out : !untouched(second)) return "the next has wrong bytes";
      }
    }
    return "";
  });
  CHECK(wrong == std::vector<std::string>(2));
  CHECK(taken_back.load() > 0);
}

TEST_CASE("a send that waits behind a collective can be taken back, one that has begun cannot") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2);
  REQUIRE(world.start() == "");
  const auto out = message(50, 1);
  std::vector<std::uint64_t> in(50, kPoison);
  Work barrier = world.at(0).barrier_async();
  Work behind = world.at(0).send_async(out.data(), 50, DataType::kU64, id(1));
  behind.cancel();
  CHECK(world.at(1).barrier().ok());
  CHECK(barrier.wait(kBound_s).ok());
  CHECK(behind.wait(kBound_s).code() == Code::kCancelled);
  Work begun = world.at(0).send_async(out.data(), 50, DataType::kU64, id(1));
  CHECK(begun.wait(0.02).code() == Code::kTimeout);
  begun.cancel();
  CHECK(begun.wait(0.02).code() == Code::kTimeout);
  const Result<Outcome> got = world.at(1).recv(in.data(), 50, DataType::kU64, id(0));
  REQUIRE(got.ok());
  CHECK(got->op == 1);
  CHECK(in == out);
  CHECK(begun.wait(kBound_s).ok());
  begun.cancel();
  CHECK(begun.wait().ok());
}

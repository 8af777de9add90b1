// send and recv under failures: the peer dies at every point, somebody else does, the peer comes back as another life.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

MemberId id(int rank) { return {static_cast<std::uint32_t>(rank), 0}; }

struct End {
  Code code = Code::kOk;
  std::string detail;
  bool right = true;  // bytes as the code says: of a receiver the message or untouched, of a sender as they were
  OpId next = 0;      // contributors of an all-reduce right after it
};

End transfer(Group& group, bool sends, int peer, std::size_t count, OpId number, bool then_reduce) {
  std::vector<std::uint64_t> sent(count), buffer(count, kPoison);
  fill(sent, 3, number);
  if (sends) buffer = sent;
  Work work = sends ? group.send_async(buffer.data(), count, DataType::kU64, id(peer))
                    : group.recv_async(buffer.data(), count, DataType::kU64, id(peer));
  const Result<Outcome> got = work.wait();
  if (got.code() == Code::kTimeout) {  // it must not outlive its buffers
    group.detach();
    (void)work.wait().ok();
  }
  End end;
  end.code = got.code();
  if (!got) end.detail = got.error().detail;
  end.right = sends || got ? buffer == sent : untouched(buffer);
  if (end.code == Code::kClosed || !then_reduce) return end;
  const Seen seen = one_op(group, static_cast<int>(group.id().replica), 77, 500);
  end.next = seen.code == Code::kOk && seen.wrong.empty() ? seen.contributors.size() : 0;
  return end;
}

std::vector<Code> exchange(const World& world, OpId number) {  // one message from rank 0 to rank 1
  return World::each({0, 1},
                     [&](int rank) { return transfer(world.at(rank), rank == 0, 1 - rank, 100, number, false).code; });
}

// Rank 1 joins again while the others are in barriers. False: not everybody came to be in a view of all ranks.
bool rank_1_comes_back(World& world) {
  const auto joined = World::each(world.ranks(), [&](int rank) {
    if (rank == 1 && !world.join(1).ok()) return false;
    for (;;) {
      const Result<Outcome> got = world.at(rank).barrier();
      if (!got) return false;
      if (got->contributors() == world.ranks().size()) return true;
    }
  });
  return joined == std::vector<bool>(joined.size(), true);
}

}  // namespace

TEST_CASE("the peer of a message dies at any point: delivered or kViewChanged, never half, and the survivors go on") {
  const std::string transport = GENERATE(from_range(transports()));
  const bool sender_dies = GENERATE(true, false);
  const std::string point = GENERATE_COPY(from_range(
      sender_dies
          ? std::vector<std::string>{"after_submit#1", "after_first_chunk#1", "after_placed#1", "after_commit#1"}
          : std::vector<std::string>{"after_submit#1", "after_prepared#1", "before_copy_out#1", "after_commit#1"}));
  const std::size_t count = GENERATE(std::size_t{0}, std::size_t{5}, std::size_t{400'000});
  if (count == 0 && point == "after_first_chunk#1") return;
  if (count == 5 && point == "after_first_chunk#1" && transport == "shm") return;  // it has no chunks
  if (count == 0 && point == "after_placed#1" && transport != "shm") return;       // nothing but its head is sent
  CAPTURE(transport, sender_dies, point, count);
  const int dead = sender_dies ? 0 : 1, survivor = 1 - dead;
  World world(transport, 3, [&](int rank, Options& options) {
    if (rank == dead) options.failpoints = point + "=call";
  });
  REQUIRE(world.start() == "");
  const auto ends = World::each(world.ranks(), [&](int rank) {
    if (rank == 2) {
      End end;
      const Seen seen = one_op(world.at(2), 2, 77, 500);
      end.next = seen.code == Code::kOk && seen.wrong.empty() ? seen.contributors.size() : 0;
      return end;
    }
    return transfer(world.at(rank), rank == 0, 1 - rank, count, 9, true);
  });
  const End &gone = ends[static_cast<std::size_t>(dead)], &left = ends[static_cast<std::size_t>(survivor)];
  CAPTURE(code_name(gone.code), gone.detail, code_name(left.code), left.detail);
  CHECK(gone.right);
  CHECK(left.right);
  CHECK((left.code == Code::kOk || left.code == Code::kViewChanged));
  if (gone.code == Code::kOk) CHECK(left.code == Code::kOk);  // who is out knows the same
  if (point == "after_submit#1") CHECK(left.code == Code::kViewChanged);
  if (point == "after_commit#1" || point == "before_copy_out#1") CHECK(left.code == Code::kOk);
  CHECK(left.next == 2);
  CHECK(ends[2].next == 2);
  const auto next = World::each({survivor, 2}, [&](int rank) {
    return transfer(world.at(rank), rank == 2, rank == 2 ? survivor : 2, count, 10, false).code;
  });
  CHECK(next == std::vector<Code>(2, Code::kOk));
  std::uint8_t byte = 0;
  CHECK(world.at(survivor).send(&byte, 1, DataType::kU8, id(dead)).code() == Code::kViewChanged);
}

TEST_CASE("messages between two members survive a view change that is none of theirs") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t count = GENERATE(std::size_t{3}, std::size_t{700}, std::size_t{60'000});
  CAPTURE(transport, count);
  World world(transport, 4);
  REQUIRE(world.start() == "");
  std::atomic<int> done{0};
  const auto wrong = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    if (rank >= 2) {  // they go one after the other, in the middle of it
      (void)eventually([&] { return done.load() > (rank == 2 ? 40 : 120); });
      group.detach();
      return std::string();
    }
    const int peer = 1 - rank;
    // On, until both deaths have been seen, by a number of messages that both ends know.
    for (OpId number = 1, until = 0; until == 0 || number <= until; ++number) {
      std::vector<std::uint64_t> out(count + 1), in(count + 1), want(count + 1);
      fill(out, rank, number);
      out[count] = group.view().size() == 2 ? 1 : 0;
      const std::uint64_t mine = out[count];
      Work sent = group.send_async(out.data(), count + 1, DataType::kU64, id(peer));
      Work got = group.recv_async(in.data(), count + 1, DataType::kU64, id(peer));
      const Result<Outcome> s = sent.wait(), r = got.wait();
      if (!s || !r) return std::string(code_name(s ? r.code() : s.code())) + (s ? r.error().detail : s.error().detail);
      if (s->op != number || r->op != number) return std::string("a message was lost or repeated");
      fill(want, peer, number);
      want[count] = in[count];
      if (in != want) return "wrong bytes in message " + std::to_string(number);
      done.fetch_add(1);
      if (until == 0 && mine != 0 && in[count] != 0) until = number + 20;
    }
    return std::string();
  });
  CHECK(wrong == std::vector<std::string>(4));
}

TEST_CASE(
    "a receiver hears that its message was settled, though its sender has nothing more to do and the view changes") {
  const std::string transport = GENERATE(from_range(transports()));
  const int delay_us = GENERATE(0, 100, 300, 1'000, 3'000);
  CAPTURE(transport, delay_us);
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto codes = World::each(world.ranks(), [&](int rank) {
    Code last = Code::kOk;
    if (rank == 2) {
      std::this_thread::sleep_for(std::chrono::microseconds(delay_us));
      world.at(2).detach();
      return last;
    }
    for (OpId number = 1; number <= 200 && last == Code::kOk; ++number) {
      const End end = transfer(world.at(rank), rank == 0, 1 - rank, number % 3 == 0 ? 50'000 : 10, number, false);
      last = end.right ? end.code : Code::kInvalid;
    }
    return last;  // the sender's thread ends here
  });
  CHECK(codes == std::vector<Code>(3, Code::kOk));
}

TEST_CASE("who has come back is sent to and received from like anybody, once an outcome has shown the new view") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  CHECK(exchange(world, 1) == std::vector<Code>(2, Code::kOk));
  world.at(1).detach();
  std::uint64_t word = 5;
  CHECK(world.at(0).send(&word, 1, DataType::kU64, id(1)).code() == Code::kViewChanged);  // while it goes, or is gone
  REQUIRE(rank_1_comes_back(world));
  CHECK(exchange(world, 2) == std::vector<Code>(2, Code::kOk));
}

TEST_CASE("who has come back may wait for a message long before it is sent: nothing is looked for that is gone") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2);
  REQUIRE(world.start() == "");
  CHECK(exchange(world, 1) == std::vector<Code>(2, Code::kOk));
  world.at(1).detach();
  REQUIRE(eventually([&] { return world.at(0).view().size() == 1; }));
  REQUIRE(rank_1_comes_back(world));
  const ViewInfo before = world.at(0).view();
  std::uint64_t word = 5, got = 0;
  Work waiting = world.at(1).recv_async(&got, 1, DataType::kU64, id(0));
  CHECK(waiting.wait(0.6).code() == Code::kTimeout);
  CHECK(world.at(0).send(&word, 1, DataType::kU64, id(1)).code() == Code::kOk);
  CHECK(waiting.wait().code() == Code::kOk);
  CHECK(got == 5);
  CHECK(world.at(0).view().epoch == before.epoch);
  CHECK(world.at(0).view().transport == before.transport);
}

TEST_CASE("messages to one who comes back fail until its new life is in a view that the caller has seen") {
  const std::string transport = GENERATE(from_range(transports()));
  std::atomic<std::size_t> size{0};  // of rank 0's view
  World world(transport, 2, [&](int rank, Options& options) {
    if (rank == 0) options.on_view = [&size](const ViewInfo& view) { size.store(view.size()); };
  });
  REQUIRE(world.start() == "");
  world.at(1).detach();
  REQUIRE(eventually([&] { return world.at(0).view().size() == 1; }));
  std::atomic<std::uint64_t> barriers{0};  // of rank 0
  std::atomic<bool> over{false};
  const auto back = World::each({0, 1}, [&](int rank) {
    if (rank == 1) {  // whatever rank 0 has begun and the change has left to both
      if (!world.join(1)) return false;
      while (!over.load() || world.at(1).steps() < barriers.load()) {
        if (world.at(1).steps() == barriers.load()) std::this_thread::yield();
        else if (!world.at(1).barrier()) return false;
      }
      return true;
    }
    while (size.load() != 2) {  // without a wait or a look at the view, which would count as having seen it
      ++barriers;
      const Work marks = world.at(0).barrier_async();
      if (!eventually([&] { return marks.done(); })) return false;
    }
    over.store(true);
    return true;
  });
  REQUIRE(back == std::vector<bool>(2, true));
  std::uint64_t word = 5, got = 0;
  CHECK(world.at(0).send(&word, 1, DataType::kU64, id(1)).code() == Code::kViewChanged);
  CHECK(world.at(0).view().size() == 2);
  const auto codes = World::each({0, 1}, [&](int rank) {
    return rank == 0 ? world.at(0).send(&word, 1, DataType::kU64, id(1)).code()
                     : world.at(1).recv(&got, 1, DataType::kU64, id(0)).code();
  });
  CHECK(codes == std::vector<Code>(2, Code::kOk));
  CHECK(got == 5);
}

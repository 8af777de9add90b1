// Ops that a decision fails: mismatch, cancel, the membership changed under a shape op, a root that is gone. The same
// code at every survivor, buffers untouched, op numbers aligned, and the next op works.
#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

struct Ending {
  Code code = Code::kOk;
  std::string detail;
  bool intact = true;  // input and output as they were
  OpId op = 0;         // of the failed op
  Seen next;           // an all-reduce right after it
  OpId next_op = 0;
};

// What one member submits, then an all-reduce that all members agree on.
template <class Submit>
Ending run_then_next(Group& group, int rank, std::size_t in_count, std::size_t out_count, Submit submit) {
  std::vector<std::uint64_t> in(in_count), out(out_count, kPoison);
  fill(in, rank, 77);
  const std::vector<std::uint64_t> kept = in;
  Ending ending;
  Work work = submit(in.data(), out.data());
  const Result<Outcome> got = work.wait();
  ending.code = got.code();
  if (!got) ending.detail = got.error().detail;
  ending.intact = in == kept && untouched(out);
  ending.op = work.op();
  if (got.code() == Code::kTimeout) {  // it must not outlive its buffers
    group.detach();
    (void)work.wait().ok();
  }
  if (got.code() == Code::kClosed || got.code() == Code::kTimeout) return ending;
  ending.next = one_op(group, rank, 78);
  std::uint64_t x = 1;
  Work again = group.all_reduce_async(&x, &x, 1, DataType::kU64, ReduceOp::kSum);
  (void)again.wait().ok();
  ending.next_op = again.op();
  return ending;
}

void check_failed_alike(const std::vector<Ending>& endings, Code code) {
  for (const Ending& e : endings) {
    CAPTURE(e.detail);
    CHECK(code_name(e.code) == std::string(code_name(code)));
    CHECK(e.intact);
    CHECK(e.op == endings[0].op);
    CHECK(code_name(e.next.code) == std::string("kOk"));
    CHECK(e.next.wrong == "");
    CHECK(e.next.digest == endings[0].next.digest);
    CHECK(e.next_op == endings[0].next_op);
  }
}

}  // namespace

TEST_CASE("members that differ in count, type, operation or kind all get kMismatch naming two, and go on") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string what = GENERATE(as<std::string>{}, "count", "type", "operation", "kind", "root", "size class");
  const int members = GENERATE(2, 4);
  CAPTURE(transport, what, members);
  World world(transport, members);
  REQUIRE(world.start() == "");
  const auto endings = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    const bool odd = rank == members - 1;
    return run_then_next(group, rank, 40'000, 40'000, [&](std::uint64_t* in, std::uint64_t* out) {
      if (what == "kind" && odd) return group.barrier_async();
      if (what == "root") return group.broadcast_async(out, 1'000, DataType::kU64, {odd ? 1u : 0u, 0});
      const std::size_t usual = what == "size class" ? 10 : 1'000;
      return group.all_reduce_async(in, out,
                                    odd && what == "count"        ? 999
                                    : odd && what == "size class" ? 40'000
                                                                  : usual,
                                    odd && what == "type" ? DataType::kI64 : DataType::kU64,
                                    odd && what == "operation" ? ReduceOp::kMax : ReduceOp::kSum);
    });
  });
  check_failed_alike(endings, Code::kMismatch);
  for (const Ending& e : endings) {
    const std::size_t named = static_cast<std::size_t>(std::count_if(e.detail.begin(), e.detail.end(), ::isdigit));
    CHECK(e.detail.find(std::to_string(members - 1)) != std::string::npos);
    CHECK(named >= 2);
  }
}

TEST_CASE("a cancelled op that one member had not submitted ends with kCancelled at every member") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t count = GENERATE(10, 20'000);
  CAPTURE(transport, count);
  World world(transport, 3);
  REQUIRE(world.start() == "");
  std::vector<std::uint64_t> in(count), out(count, kPoison);
  std::atomic<bool> decided{false};
  const auto endings = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    if (rank == 2) (void)eventually([&] { return decided.load(); });
    return run_then_next(group, rank, count, count, [&](std::uint64_t* from, std::uint64_t* to) {
      Work work = group.all_reduce_async(from, to, count, DataType::kU64, ReduceOp::kSum);
      if (rank == 0) {
        work.cancel();
        (void)work.wait().ok();
        decided.store(true);
      }
      return work;
    });
  });
  check_failed_alike(endings, Code::kCancelled);
}

TEST_CASE("a cancel that comes after the commit changes nothing") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2);
  REQUIRE(world.start() == "");
  const auto seen = World::each(world.ranks(), [&](int rank) {
    std::uint64_t x = 1;
    Work work = world.at(rank).all_reduce_async(&x, &x, 1, DataType::kU64, ReduceOp::kSum);
    (void)work.wait().ok();
    work.cancel();
    return run_ops(world.at(rank), rank, {.count = 50, .first = 2, .ops = 5});
  });
  CHECK(disagreement(seen) == "");
}

TEST_CASE("an all-gather under a death fails with kViewChanged at every survivor, and works in the new view") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string point = GENERATE(as<std::string>{}, "after_submit#1", "after_first_chunk#1");
  const std::size_t count = GENERATE(20, 200'000);  // the large one is more than a chunk of any transport
  CAPTURE(transport, point, count);
  World world(transport, 3, [&](int rank, Options& options) {
    if (rank == 1) options.failpoints = point + "=call";
  });
  REQUIRE(world.start() == "");
  struct Two {
    Ending first;
    Code again = Code::kOk;
    std::vector<std::uint64_t> blocks;
  };
  const auto all = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    Two two;
    two.first = run_then_next(group, rank, count, 3 * count, [&](std::uint64_t* in, std::uint64_t* out) {
      return group.all_gather_async(in, out, count, DataType::kU64);
    });
    if (rank == 1) return two;
    std::vector<std::uint64_t> in(count);
    fill(in, rank, 5);
    two.blocks.assign(group.view().size() * count, kPoison);
    two.again = group.all_gather(in.data(), two.blocks.data(), count, DataType::kU64).code();
    return two;
  });
  // A small op's whole contribution may be out before the death: then it may have been kept, but by both or by none.
  REQUIRE(all[0].first.code == all[2].first.code);
  if (all[0].first.code != Code::kOk)
    check_failed_alike({all[0].first, all[2].first}, Code::kViewChanged);
  else
    CHECK((point == "after_first_chunk#1" && count == 20));
  std::vector<std::uint64_t> want(2 * count), block(count);
  for (const std::size_t m : {0u, 1u}) {
    fill(block, m == 0 ? 0 : 2, 5);
    std::copy(block.begin(), block.end(), want.begin() + static_cast<std::ptrdiff_t>(m * count));
  }
  for (const std::size_t m : {0u, 2u}) {
    CHECK(all[m].again == Code::kOk);
    CHECK(all[m].blocks == want);
  }
}

TEST_CASE("an all-gather of a caller that has not seen the new view fails at every member, and works after view()") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  world.at(1).detach();
  const std::vector<int> living = {0, 2};
  REQUIRE(eventually([&] {  // rank 0 looks at the view; rank 2 has not
    return world.at(0).view().size() == 2;
  }));
  const auto endings = World::each(living, [&](int rank) {
    Group& group = world.at(rank);
    return run_then_next(group, rank, 10, 30, [&](std::uint64_t* in, std::uint64_t* out) {
      return group.all_gather_async(in, out, 10, DataType::kU64);
    });
  });
  check_failed_alike(endings, Code::kViewChanged);
  const auto again = World::each(living, [&](int rank) {
    std::uint64_t in = static_cast<std::uint64_t>(rank) + 1, out[2] = {};
    (void)world.at(rank).view();
    const bool ok = world.at(rank).all_gather(&in, out, 1, DataType::kU64).ok();
    return ok && out[0] == 1 && out[1] == 3;
  });
  CHECK(again == std::vector<bool>{true, true});
}

TEST_CASE("a broadcast whose root is gone fails with kViewChanged at every survivor; from a living root it is redone") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t count = GENERATE(20, 20'000);
  const bool root_dies = GENERATE(true, false);
  CAPTURE(transport, count, root_dies);
  World world(transport, 3, [&](int rank, Options& options) {
    if (rank == 1) options.failpoints = "after_submit#1=call";
  });
  REQUIRE(world.start() == "");
  const std::uint32_t root = root_dies ? 1 : 0;
  std::vector<std::uint64_t> sent(count);
  fill(sent, 0, 9);
  const auto endings = World::each(world.ranks(), [&](int rank) {
    Group& group = world.at(rank);
    Ending ending = run_then_next(group, rank, count, count, [&](std::uint64_t*, std::uint64_t* out) {
      if (rank == 0 && !root_dies) std::copy(sent.begin(), sent.end(), out);
      Work work = group.broadcast_async(out, count, DataType::kU64, {root, 0});
      (void)work.wait().ok();
      if (!root_dies) {  // so that `intact` tells whether the right bytes came
        if (std::equal(sent.begin(), sent.end(), out)) std::fill(out, out + count, kPoison);
      }
      return work;
    });
    return ending;
  });
  check_failed_alike({endings[0], endings[2]}, root_dies ? Code::kViewChanged : Code::kOk);
}

TEST_CASE("an op over a network that needs more than staging_bytes is failed by a decision at everyone, and they go on") {
  const int members = GENERATE(2, 3);
  CAPTURE(members);
  World world("tcp", members, [](int, Options& options) { options.staging_bytes = 1u << 20; });
  REQUIRE(world.start() == "");
  const std::size_t count = (2u << 20) / sizeof(std::uint64_t);
  const auto endings = World::each(world.ranks(), [&](int rank) {
    return run_then_next(world.at(rank), rank, count, count, [&](std::uint64_t* in, std::uint64_t* out) {
      return world.at(rank).all_reduce_async(in, out, count, DataType::kU64, ReduceOp::kSum);
    });
  });
  check_failed_alike(endings, Code::kNoMemory);
}

// Broadcast, all-gather, barrier; several ops in flight; views as the caller sees them.
#include <sys/mman.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

Status failure(const Result<Outcome>& got) { return got.ok() ? Status() : Status(got.error()); }

}  // namespace

TEST_CASE("a broadcast gives every member the root's bytes, whichever member is the root") {
  const std::string transport = GENERATE(from_range(transports()));
  const int members = GENERATE(1, 2, 4);
  World world(transport, members);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    OpId op = 0;
    for (const std::size_t count : {0u, 1u, 100u, 50'001u, 300'000u})
      for (int root = 0; root < members; ++root) {
        ++op;
        std::vector<std::uint64_t> buffer(count, kPoison), want(count);
        fill(want, root, op);
        if (rank == root) buffer = want;
        const Result<Outcome> got =
            world.at(rank).broadcast(buffer.data(), count, DataType::kU64, {static_cast<std::uint32_t>(root), 0});
        const std::string what = "root " + std::to_string(root) + " x" + std::to_string(count) + ": ";
        if (!got) return what + code_name(got.code()) + " " + got.error().detail;
        if (buffer != want) return what + "wrong bytes";
      }
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("an all-gather puts every member's block in member order") {
  const std::string transport = GENERATE(from_range(transports()));
  const int members = GENERATE(1, 2, 3, 5);
  World world(transport, members);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    OpId op = 0;
    for (const std::size_t count : {0u, 1u, 33u, 1'000u, 70'001u}) {
      ++op;
      std::vector<std::uint64_t> in(count), block(count), out(count * static_cast<std::size_t>(members), kPoison);
      fill(in, rank, op);
      const Result<Outcome> got = world.at(rank).all_gather(in.data(), out.data(), count, DataType::kU64);
      if (!got) return std::string(code_name(got.code())) + " " + got.error().detail;
      for (std::size_t m = 0; m < static_cast<std::size_t>(members) && count != 0; ++m) {
        fill(block, static_cast<int>(got->view->members[m].replica), op);
        if (!std::equal(block.begin(), block.end(), out.begin() + static_cast<std::ptrdiff_t>(m * count)))
          return "x" + std::to_string(count) + ": wrong block " + std::to_string(m);
      }
    }
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("nobody leaves a barrier before everybody has entered it") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 4);
  REQUIRE(world.start() == "");
  constexpr int kRounds = 50;
  std::vector<std::atomic<int>> entered(kRounds);
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    for (int round = 0; round < kRounds; ++round) {
      entered[static_cast<std::size_t>(round)].fetch_add(1);
      const Result<Outcome> got = world.at(rank).barrier();
      if (!got) return code_name(got.code());
      if (entered[static_cast<std::size_t>(round)].load() != 4) return "left too early";
    }
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("ops in flight may be waited for in any order and by nobody, and end in order") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    constexpr std::size_t kOps = 8, kCount = 3'000;
    Group& group = world.at(rank);
    for (OpId round = 0; round < 10; ++round) {
      std::vector<std::vector<std::uint64_t>> in(kOps), out(kOps);
      std::vector<Work> work;
      for (std::size_t k = 0; k < kOps; ++k) {
        in[k].resize(k % 2 != 0 ? kCount : 10);
        out[k].assign(in[k].size(), kPoison);
        fill(in[k], rank, round * kOps + k + 1);
        work.push_back(
            group.all_reduce_async(in[k].data(), out[k].data(), in[k].size(), DataType::kU64, ReduceOp::kSum));
      }
      // Last first; then all others are over too. Every other round nobody waits: the library's own thread carries
      // them.
      if (round % 2 != 0 && !eventually([&] { return work.back().done(); })) return "not carried on by itself";
      for (std::size_t k = kOps; k-- > 0;) {
        const Result<Outcome> got = work[k].wait();
        if (!got) return code_name(got.code());
        if (k == 0 ? false : !work[k - 1].done()) return "ended before an earlier one";
        if (got->op != round * kOps + k + 1) return "wrong op number";
        if (std::string w = wrong_sum(*got, out[k], got->op); !w.empty()) return w;
      }
    }
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("a submit into a full window waits for room and loses nothing") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3, [](int, Options& options) { options.window = 2; });
  REQUIRE(world.start() == "");
  const auto histories = World::each(world.ranks(), [&](int rank) {
    return run_ops(world.at(rank), rank, {.count = 2'000, .first = 1, .ops = 40, .in_flight = 12});
  });
  CHECK(disagreement(histories) == "");
}

TEST_CASE("a submit into a full window that does not move ends with a timeout and takes no op number") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, [](int rank, Options& options) {
    options.window = 2;
    if (rank == 0) options.wait_timeout_s = 0.1;
  });
  REQUIRE(world.start() == "");
  std::vector<std::uint64_t> a(10), b(10), c(10, kPoison);
  fill(a, 0, 1);
  fill(b, 0, 2);
  const auto submit = [&](std::vector<std::uint64_t>& x) {
    return world.at(0).all_reduce_async(x.data(), x.data(), x.size(), DataType::kU64, ReduceOp::kSum);
  };
  Work first = submit(a), second = submit(b), third = submit(c);
  CHECK(third.wait().code() == Code::kTimeout);
  CHECK(third.op() == 0);
  CHECK(untouched(c));
  CHECK(first.wait().code() == Code::kTimeout);
  std::thread peer([&] { (void)run_ops(world.at(1), 1, {.count = 10, .first = 1, .ops = 2}); });
  const Result<Outcome> one = first.wait(kBound_s), two = second.wait(kBound_s);
  peer.join();
  REQUIRE(one.ok());
  REQUIRE(two.ok());
  CHECK(wrong_sum(*one, a, 1) == "");
  CHECK(wrong_sum(*two, b, 2) == "");
}

TEST_CASE("a wait that times out abandons nothing: the op commits when the others come") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t count = GENERATE(10, 100'000);
  World world(transport, 2);
  REQUIRE(world.start() == "");
  std::vector<std::uint64_t> in(count), out(count, kPoison);
  fill(in, 0, 1);
  Work work = world.at(0).all_reduce_async(in.data(), out.data(), count, DataType::kU64, ReduceOp::kSum);
  CHECK(work.wait(0.02).code() == Code::kTimeout);
  CHECK(work.wait(0.02).code() == Code::kTimeout);
  CHECK_FALSE(work.done());
  CHECK(untouched(out));
  std::thread peer([&] { (void)one_op(world.at(1), 1, 1, count); });
  const Result<Outcome> got = work.wait();
  peer.join();
  REQUIRE(got.ok());
  CHECK(wrong_sum(*got, out, 1) == "");
  CHECK(got->attempts == 1);
}

TEST_CASE("an argument that makes no sense is refused at once and takes no op number") {
  World world(transports().front(), 1);
  REQUIRE(world.start() == "");
  std::uint64_t x = 1, y = kPoison;
  Group& group = world.at(0);
  CHECK(group.all_reduce(nullptr, &y, 1, DataType::kU64, ReduceOp::kSum).code() == Code::kInvalid);
  CHECK(group.all_reduce(&x, nullptr, 1, DataType::kU64, ReduceOp::kSum).code() == Code::kInvalid);
  CHECK(group.all_reduce(&x, &y, std::size_t{1} << 60, DataType::kU64, ReduceOp::kSum).code() == Code::kInvalid);
  CHECK(group.all_reduce(&x, &y, 1, static_cast<DataType>(99), ReduceOp::kSum).code() == Code::kInvalid);
  CHECK(group.all_reduce(&x, &y, 1, DataType::kU64, static_cast<ReduceOp>(99)).code() == Code::kInvalid);
  CHECK(y == kPoison);
  const Result<Outcome> got = group.all_reduce(&x, &y, 1, DataType::kU64, ReduceOp::kSum);
  REQUIRE(got.ok());
  CHECK(got->op == 1);
  CHECK(y == 1);
}

TEST_CASE("a buffer that the host cannot read, as memory of a device, is named and refused; the group goes on") {
  World world(transports().front(), 1);
  REQUIRE(world.start() == "");
  void* device = ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(device != MAP_FAILED);
  std::uint64_t x = 1, y = kPoison;
  Group& group = world.at(0);
  const std::size_t one[] = {1};
  const Status refused[] = {
      failure(group.all_reduce(device, &y, 1, DataType::kU64, ReduceOp::kSum)),
      failure(group.all_reduce(&x, device, 1, DataType::kU64, ReduceOp::kSum)),
      failure(group.broadcast(device, 1, DataType::kU64, {0, 0})),
      failure(group.all_gather_v(device, &y, one, DataType::kU64)),
      failure(group.all_gather_v(&x, device, one, DataType::kU64)),
  };
  for (const Status& status : refused) {
    CHECK(status.code() == Code::kInvalid);
    CHECK(status.error().detail.find("memory of a device") != std::string::npos);
  }
  CHECK(refused[1].error().detail.find("the output at 0x") == 0);
  CHECK(group.all_reduce(device, device, 0, DataType::kU64, ReduceOp::kSum).ok());  // nothing is looked at
  ::munmap(device, 4096);
  const Result<Outcome> got = group.all_reduce(&x, &y, 1, DataType::kU64, ReduceOp::kSum);
  REQUIRE(got.ok());
  CHECK(got->op == 2);
  CHECK(y == 1);
}

TEST_CASE("every member is told of every view, in order, and view() is the last of them") {
  const std::string transport = GENERATE(from_range(transports()));
  std::mutex mutex;
  std::vector<std::vector<ViewInfo>> told(3);
  World world(transport, 3, [&](int rank, Options& options) {
    options.on_view = [&, rank](const ViewInfo& view) {
      std::lock_guard lock(mutex);
      told[static_cast<std::size_t>(rank)].push_back(view);
    };
    if (rank == 1) options.failpoints = "after_prepared#3=call";
  });
  REQUIRE(world.start() == "");
  (void)World::each(world.ranks(),
                    [&](int rank) { return run_ops(world.at(rank), rank, {.count = 100, .first = 1, .ops = 6}); });
  for (const int rank : {0, 2}) {
    const ViewInfo view = world.at(rank).view();
    std::lock_guard lock(mutex);
    const std::vector<ViewInfo>& views = told[static_cast<std::size_t>(rank)];
    REQUIRE(views.size() == 2);
    CHECK(ids_of(views[0]) == std::vector<std::uint32_t>{0, 1, 2});
    CHECK(ids_of(views[1]) == std::vector<std::uint32_t>{0, 2});
    CHECK(views[1].epoch == views[0].epoch + 1);
    CHECK(views[1].epoch == view.epoch);
    CHECK(view.log == world.log_id());
    CHECK(transport.starts_with(view.transport));
    CHECK(view.members[view.self].replica == static_cast<std::uint32_t>(rank));
    CHECK(world.at(rank).id().replica == static_cast<std::uint32_t>(rank));
    CHECK(world.at(rank).steps() == 6);
    CHECK(world.at(rank).flight_record().find("\n") != std::string::npos);
  }
}

TEST_CASE("an op whose wait was to follow is carried out where nobody waits, too") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    OpOptions options;
    options.wait_follows = true;
    std::vector<std::uint64_t> x(100, static_cast<std::uint64_t>(rank) + 1);
    for (int round = 0; round < 50; ++round) {  // waited for: no thread has to be woken
      std::vector<std::uint64_t> y = x;
      const auto got = world.at(rank).all_reduce_async(y.data(), y.data(), 100, DataType::kU64, ReduceOp::kSum, options).wait();
      if (!got || y[99] != 3) return "round " + std::to_string(round);
    }
    Work work = world.at(rank).all_reduce_async(x.data(), x.data(), 100, DataType::kU64, ReduceOp::kSum, options);
    const Instant until = now() + Duration::from_ms(10'000);
    while (!work.done() && now() < until) std::this_thread::yield();
    return work.done() && x[99] == 3 ? "" : "not carried out";
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

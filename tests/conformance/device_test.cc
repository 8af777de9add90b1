// Buffers on a device: what a caller's stream sees, with every transport.
#include <array>
#include <atomic>

#include "tests/conformance/device_side.h"

using namespace regroup;
using namespace regroup::conformance;

TEST_CASE("an all-reduce on device buffers begins after its stream's steps, and later steps see the result") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t count = GENERATE(1, 300, 40'000);
  CAPTURE(transport, count);
  World world(transport, 3, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, count);
    for (OpId op = 1; op <= 6; ++op) {
      if (std::string wrong = side.put(rank, op); !wrong.empty()) return wrong;
      Work work = group.all_reduce_async(side.in, op % 2 ? side.out : side.in, count, DataType::kU64, ReduceOp::kSum, side.options());
      if (op % 2 == 0 && !side.stream->copy(side.out, side.in, count * 8)) return "copy";
      (void)side.stream->zero(side.in, count * 8).ok();  // the op has its own copy
      const std::vector<std::uint64_t> got = side.fetched();  // nobody has waited for the op
      const Result<Outcome> outcome = work.wait();
      if (!outcome) return outcome.error().detail;
      if (std::string wrong = wrong_sum(*outcome, got, op); !wrong.empty()) return wrong;
    }
    return "";
  });
}

TEST_CASE("device ops of several streams in flight, with host ops and barriers between them") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side a(group, 5'000), b(group, 200);
    for (OpId op = 1; op <= 40; op += 4) {
      if (a.put(rank, op) + b.put(rank, op + 1) != "") return "put";
      Work first = group.all_reduce_async(a.in, a.out, a.count, DataType::kU64, ReduceOp::kSum, a.options());
      Work second = group.all_reduce_async(b.in, b.out, b.count, DataType::kU64, ReduceOp::kSum, b.options());
      std::vector<std::uint64_t> host(100);
      fill(host, rank, op + 2);
      const Result<Outcome> third = group.all_reduce(host.data(), host.data(), host.size(), DataType::kU64, ReduceOp::kSum);
      if (!third) return third.error().detail;
      if (std::string wrong = wrong_sum(*third, host, op + 2); !wrong.empty()) return "host: " + wrong;
      if (!group.barrier(a.options())) return "barrier";
      if (!first.wait() || !second.wait()) return "wait";
      if (std::string wrong = wrong_sum(*first.wait(), a.fetched(), op); !wrong.empty()) return "a: " + wrong;
      if (std::string wrong = wrong_sum(*second.wait(), b.fetched(), op + 1); !wrong.empty()) return "b: " + wrong;
    }
    return "";
  });
}

TEST_CASE("a stream that is late with a result still gets its own, whatever was committed meanwhile") {
  World world("shm", 1, [](int, Options& o) { o.device = named_device() != nullptr ? named_device() : "host,late_us=3000,seed=5"; });
  REQUIRE(world.start() == "");
  Group& group = world.at(0);
  Side a(group, 100), b(group, 100);
  for (OpId op = 1; op <= 80; op += 2) {
    REQUIRE(a.put(0, op) + b.put(0, op + 1) == "");
    REQUIRE(b.stream->finish(now() + kBound).ok());
    const Result<Outcome> first = group.all_reduce(a.in, a.out, a.count, DataType::kU64, ReduceOp::kSum, a.options());
    const Result<Outcome> second = group.all_reduce(b.in, b.out, b.count, DataType::kU64, ReduceOp::kSum, b.options());
    CHECK(wrong_sum(*first, a.fetched(), op) == "");
    CHECK(wrong_sum(*second, b.fetched(), op + 1) == "");
  }
}

TEST_CASE("all kinds with one count, on device buffers") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t n = 3, count = GENERATE(7, 9'000);
  CAPTURE(transport, count);
  World world(transport, static_cast<int>(n), with_device());
  REQUIRE(world.start() == "");
  const auto value = [](int from, std::size_t block, std::size_t i) { return 1'000'000u * from + 100'000u * block + i; };
  const auto seen = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    Side side(group, n * count);
    const auto run = [&](const char* name, auto call, auto want, std::size_t from, std::size_t to) -> std::string {
      std::vector<std::uint64_t> input(n * count);
      for (std::size_t b = 0; b < n; ++b)
        for (std::size_t i = 0; i < count; ++i) input[b * count + i] = value(rank, b, i);
      if (std::string wrong = side.put(input); !wrong.empty()) return wrong;
      const Result<Outcome> outcome = call();
      if (!outcome) return std::string(name) + ": " + outcome.error().detail;
      const auto got = side.fetched();
      if (got.size() != n * count) return std::string(name) + ": no result";
      for (std::size_t b = 0; b < n; ++b)
        for (std::size_t i = 0; i < count; ++i)
          if (got[b * count + i] != (b >= from && b < to ? want(b, i) : kPoison)) return std::string(name) + ": wrong";
      return "";
    };
    const auto type = DataType::kU64;
    const MemberId root{1, 0};
    const bool mine = rank == 1;
    const auto o = side.options();
    std::string all;
    all += run("reduce", [&] { return group.reduce(side.in, side.out, count, type, ReduceOp::kSum, root, o); },
               [&](std::size_t, std::size_t i) { return 3'000'000u + 3 * i; }, 0, mine ? 1 : 0);
    all += run("broadcast", [&] { return group.broadcast(mine ? side.in : side.out, count, type, root, o); },
               [&](std::size_t, std::size_t i) { return value(1, 0, i); }, 0, mine ? 0 : 1);
    all += run("all_gather", [&] { return group.all_gather(side.in, side.out, count, type, o); },
               [&](std::size_t b, std::size_t i) { return value(static_cast<int>(b), 0, i); }, 0, n);
    all += run("reduce_scatter", [&] { return group.reduce_scatter(side.in, side.out, count, type, ReduceOp::kSum, o); },
               [&](std::size_t, std::size_t i) { return 3'000'000u + 300'000u * static_cast<unsigned>(rank) + 3 * i; }, 0, 1);
    all += run("all_to_all", [&] { return group.all_to_all(side.in, side.out, count, type, o); },
               [&](std::size_t b, std::size_t i) { return value(static_cast<int>(b), static_cast<std::size_t>(rank), i); }, 0, n);
    all += run("gather", [&] { return group.gather(side.in, side.out, count, type, root, o); },
               [&](std::size_t b, std::size_t i) { return value(static_cast<int>(b), 0, i); }, 0, mine ? n : 0);
    all += run("scatter", [&] { return group.scatter(side.in, side.out, count, type, root, o); },
               [&](std::size_t, std::size_t i) { return value(1, static_cast<std::size_t>(rank), i); }, 0, 1);
    return all;
  });
  for (const std::string& s : seen) CHECK(s == "");
}

TEST_CASE("a member dies inside an op on device buffers: redone from the copies, the others' streams get the survivors' sum") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string point = GENERATE("after_first_chunk", "after_prepared", "before_copy_out");
  CAPTURE(transport, point);
  World world(transport, 3, [&](int rank, Options& o) {
    with_device()(rank, o);
    if (rank == 2) o.failpoints = point + "#3=call";
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 20'000);
    for (OpId op = 1; op <= 5; ++op) {
      if (std::string wrong = side.put(rank, op); !wrong.empty()) return wrong;
      Work work = group.all_reduce_async(side.in, side.in, side.count, DataType::kU64, ReduceOp::kSum, side.options());
      (void)side.stream->copy(side.out, side.in, side.count * 8).ok();
      const auto got = side.fetched();
      const Result<Outcome> outcome = work.wait();
      if (rank == 2 && outcome.code() == Code::kClosed) return op == 3 ? "" : "another op";
      if (!outcome) return outcome.error().detail;
      if (std::string wrong = wrong_sum(*outcome, got, op); !wrong.empty()) return wrong;
      if (rank != 2 && outcome->contributors() != (op < 3 ? 3u : 2u) && op != 3) return "contributors";
    }
    return rank == 2 ? "did not die" : "";
  });
}

TEST_CASE("an op that a decision fails leaves the device's output as it was, and its stream goes on") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 3'000);
    if (std::string wrong = side.put(rank, 1); !wrong.empty()) return wrong;
    Work work = group.all_reduce_async(side.in, side.out, side.count - static_cast<std::size_t>(rank), DataType::kU64, ReduceOp::kSum,
                                       side.options());
    const auto got = side.fetched();
    if (work.wait().code() != Code::kMismatch) return "no mismatch";
    if (got.size() != side.count || !untouched(got)) return "touched";
    if (std::string wrong = side.put(rank, 2); !wrong.empty()) return wrong;
    const Result<Outcome> next = group.all_reduce(side.in, side.out, side.count, DataType::kU64, ReduceOp::kSum, side.options());
    return next ? wrong_sum(*next, side.fetched(), 2) : next.error().detail;
  });
}

TEST_CASE("a lost device ends its member, and nobody waits for it") {
  if (named_device() != nullptr) return;  // of its own accord none is lost
  const std::string transport = GENERATE(from_range(transports()));
  const std::uint64_t step = GENERATE(9, 10, 11, 12, 13, 14);  // of six or so that an op takes
  CAPTURE(transport, step);
  World world(transport, 3, [&](int rank, Options& o) {
    o.device = rank == 1 ? "host,fail_at=" + std::to_string(step) : "host";
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 1'000);
    Code last = Code::kOk;
    for (OpId op = 1; op <= 8 && last == Code::kOk; ++op) {
      if (std::string wrong = side.put(rank, op); !wrong.empty() && rank != 1) return wrong;
      Work work = group.all_reduce_async(side.in, side.out, side.count, DataType::kU64, ReduceOp::kSum, side.options());
      const Result<Outcome> outcome = work.wait();
      last = outcome.code();
      if (rank == 1) continue;
      if (!outcome) return outcome.error().detail;
      if (std::string wrong = wrong_sum(*outcome, side.fetched(), op); !wrong.empty()) return wrong;
    }
    if (rank != 1) return group.view().size() == 2 ? "" : "nobody went";
    return last == Code::kSystem ? "" : "no kSystem";
  });
}

TEST_CASE("what one member has in a group, of host buffers, another has on a stream: nobody waits for ever") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    const std::size_t count = 2'000;
    Side side(group, count);
    std::vector<std::uint64_t> first(count), second(count);
    for (OpId op = 1; op <= 9; op += 2) {
      fill(first, rank, op), fill(second, rank, op + 1);
      if (rank == 0) {  // one `prepared` for both, if it could be
        (void)group.group_start().ok();
        Work a = group.all_reduce_async(first.data(), first.data(), count, DataType::kU64, ReduceOp::kSum);
        Work b = group.all_reduce_async(second.data(), second.data(), count, DataType::kU64, ReduceOp::kSum);
        (void)group.group_end().ok();
        if (!a.wait() || !b.wait()) return "wait";
        if (std::string wrong = wrong_sum(*a.wait(), first, op) + wrong_sum(*b.wait(), second, op + 1); !wrong.empty()) return wrong;
        continue;
      }
      if (side.put(first) != "") return "put";  // the second one's input is put behind the first one's result
      Work a = group.all_reduce_async(side.in, side.out, count, DataType::kU64, ReduceOp::kSum, side.options());
      if (!a.wait()) return "wait";
      if (std::string wrong = wrong_sum(*a.wait(), side.fetched(), op); !wrong.empty()) return wrong;
      if (side.put(second) != "") return "put";
      Work b = group.all_reduce_async(side.in, side.out, count, DataType::kU64, ReduceOp::kSum, side.options());
      if (!b.wait()) return "wait";
      if (std::string wrong = wrong_sum(*b.wait(), side.fetched(), op + 1); !wrong.empty()) return wrong;
    }
    return "";
  });
}

TEST_CASE("a shape op of a caller that has not seen the view fails, and nothing is read of a buffer that is for another one") {
  std::array<std::atomic<std::size_t>, 3> sizes{};
  World world("shm", 3, [&](int rank, Options& o) {
    with_device()(rank, o);
    o.on_view = [&sizes, rank](const ViewInfo& view) { sizes[static_cast<std::size_t>(rank)] = view.size(); };
  });
  REQUIRE(world.start() == "");
  world.drop(2);
  for (const bool went : World::each({0, 1}, [&](int rank) {
         return eventually([&] { return world.at(rank).barrier().ok() && world.at(rank).view().size() == 2; });
       }))
    REQUIRE(went);
  REQUIRE(world.join(2).ok());
  REQUIRE(eventually([&] { return sizes[0] == 3 && sizes[1] == 3; }));
  const auto seen = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    Side side(group, rank == 2 ? 300 : 200);
    if (std::string wrong = side.put(rank, 1); !wrong.empty()) return wrong;
    const Result<Outcome> outcome = group.all_to_all(side.in, side.out, 100, DataType::kU64, side.options());
    if (outcome.code() != Code::kViewChanged) return std::string("not kViewChanged: ") + code_name(outcome.code());
    if (!untouched(side.fetched())) return "touched";
    (void)group.view();
    if (std::string wrong = side.put(rank, 2); !wrong.empty()) return wrong;
    const Result<Outcome> next = group.all_reduce(side.in, side.out, 200, DataType::kU64, ReduceOp::kSum, side.options());
    if (!next) return next.error().detail;
    std::vector<std::uint64_t> got = side.fetched();
    got.resize(200);
    return wrong_sum(*next, got, 2);
  });
  for (const std::string& s : seen) CHECK(s == "");
}

TEST_CASE("calls that cannot be right on device buffers are refused, and nothing is submitted") {
  World world("shm", 1, [](int, Options& o) { o.device = "host"; });
  REQUIRE(world.start() == "");
  Group& group = world.at(0);
  Side side(group, 100);
  std::vector<std::uint64_t> host(100);
  const auto sum = [&](const void* in, void* out, OpOptions o) {
    const Result<Outcome> r = group.all_reduce(in, out, 100, DataType::kU64, ReduceOp::kSum, o);
    return std::string(code_name(r.code())) + (r ? "" : ": " + r.error().detail);
  };
  CHECK(sum(side.in, host.data(), side.options()) == "kInvalid: the input is on host, the output is not");
  CHECK(sum(host.data(), side.out, side.options()) == "kInvalid: the output is on host, the input is not");
  CHECK(sum(host.data(), host.data(), side.options()) == "kInvalid: a stream, but the buffers are not on host");
  CHECK(sum(side.in, side.out, {}) == "kInvalid: a stream that is not of this device");
  const auto other = device::make_host_device();
  const std::unique_ptr<device::Stream> foreign = other->make_stream().value();
  OpOptions of_other, cut = side.options();
  of_other.stream = foreign->native();
  cut.cut_bytes = 64;
  CHECK(sum(side.in, side.out, of_other) == "kInvalid: a stream that is not of this device");
  CHECK(sum(side.in, side.out, cut) == "kUnsupported: cut_bytes: not with buffers on a device");
  const std::size_t counts[] = {100}, short_counts[] = {100, 1};
  CHECK(group.all_gather_v(side.in, host.data(), counts, DataType::kU64).code() == Code::kInvalid);
  CHECK(group.all_gather_v(side.in, side.out, short_counts, DataType::kU64, side.options()).code() == Code::kInvalid);
  CHECK(group.send_recv(side.in, 1, {1, 0}, side.out, 0, {}, DataType::kU64, side.options()).code() == Code::kInvalid);
  CHECK(side.stream->finish(now() + kBound).ok());  // no stream waits for what was refused
  CHECK(group.all_reduce_async(host.data(), host.data(), 100, DataType::kU64, ReduceOp::kSum).wait()->op == 1);

  World plain("shm", 1);
  REQUIRE(plain.start() == "");
  CHECK(plain.at(0).all_reduce(host.data(), host.data(), 100, DataType::kU64, ReduceOp::kSum, side.options()).code() == Code::kInvalid);
  CHECK(plain.at(0).device() == nullptr);
  for (const char* name : {"gpu", "cuda", "cuda:", "cuda:x", "cuda:-1", "host,", "host,late_us=x", "host,fail_at", "hosted"}) {
    CAPTURE(name);
    Options options = plain.options(0);
    options.device = name;
    CHECK(Group::join(options).code() == Code::kConfig);
  }
}

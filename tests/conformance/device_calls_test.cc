// Calls with tables, and messages, on device buffers: what is read and written of them, and that no stream waits for ever.
#include "tests/conformance/device_side.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

constexpr DataType kType = DataType::kU64;
MemberId id(int rank) { return {static_cast<std::uint32_t>(rank), 0}; }

// Element i of what `from` has for `to`, of round `op`.
std::uint64_t value(int from, int to, OpId op, std::size_t i) {
  return coefficient(op, i) + 100 * i + 1'000'000 * static_cast<std::uint64_t>(10 * from + to);
}
// Blocks lie apart: what is between them is nobody's.
constexpr std::size_t kApart = 3;
struct Table {
  std::vector<std::size_t> counts, at;
  std::size_t end = 0;
  void add(std::size_t count) {
    counts.push_back(count), at.push_back(end + kApart);
    end += kApart + count;
  }
};

}  // namespace

TEST_CASE("calls with tables, on device buffers: blocks lie where the tables say, and between them nothing is written") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t unit = GENERATE(5, 3'000);
  CAPTURE(transport, unit);
  const int n = 3;
  World world(transport, n, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    const auto size = [&](int from, int to) { return unit * static_cast<std::size_t>((from + 2 * to) % 3); };  // 0 too
    Table give, take;
    for (int i = 0; i < n; ++i) give.add(size(rank, i)), take.add(size(i, rank));
    Side side(group, std::max(give.end, take.end) + 6 * unit);
    const auto o = side.options();
    std::vector<std::uint64_t> input, want;
    const auto begin = [&] { input.assign(side.count, kPoison), want.assign(side.count, kPoison); };
    const auto run = [&](const char* name, auto call) -> std::string {
      if (std::string wrong = side.put(input); !wrong.empty()) return wrong;
      const Result<Outcome> outcome = call();
      const auto got = side.fetched();
      if (!outcome) return std::string(name) + ": " + outcome.error().detail + "; ";
      return got == want ? "" : std::string(name) + ": wrong; ";
    };
    std::string all;
    for (OpId op = 1; op <= 3; ++op) {
      const auto block = [&](std::vector<std::uint64_t>& into, std::size_t at, int from, int to, std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) into[at + i] = value(from, to, op, i);
      };
      begin();
      for (int i = 0; i < n; ++i) {
        const auto k = static_cast<std::size_t>(i);
        block(input, give.at[k], rank, i, give.counts[k]), block(want, take.at[k], i, rank, take.counts[k]);
      }
      all += run("all_to_all_v", [&] { return group.all_to_all_v(side.in, give.counts, give.at, side.out, take.counts, take.at, kType, o); });

      std::vector<std::size_t> counts;  // agreed: of member i, i * unit
      for (std::size_t i = 0; i < n; ++i) counts.push_back(i * unit);
      begin();
      block(input, 0, rank, 0, counts[static_cast<std::size_t>(rank)]);
      for (std::size_t i = 0, at = 0; i < n; at += counts[i], ++i) block(want, at, static_cast<int>(i), 0, counts[i]);
      all += run("all_gather_v", [&] { return group.all_gather_v(side.in, side.out, counts, kType, o); });

      begin();
      for (std::size_t i = 0, at = 0; i < n; at += counts[i], ++i) block(input, at, rank, static_cast<int>(i), counts[i]);
      for (std::size_t i = 0; i < counts[static_cast<std::size_t>(rank)]; ++i)
        want[i] = value(0, rank, op, i) + value(1, rank, op, i) + value(2, rank, op, i);
      all += run("reduce_scatter_v", [&] { return group.reduce_scatter_v(side.in, side.out, counts, kType, ReduceOp::kSum, o); });

      begin();
      block(input, 0, rank, 1, size(rank, 1));
      for (std::size_t i = 0; rank == 1 && i < n; ++i) block(want, take.at[i], static_cast<int>(i), 1, take.counts[i]);
      all += run("gather_v", [&] { return group.gather_v(side.in, size(rank, 1), side.out, take.counts, take.at, kType, id(1), o); });

      begin();
      for (std::size_t i = 0; i < n; ++i) block(input, give.at[i], rank, static_cast<int>(i), give.counts[i]);
      block(want, 0, 1, rank, size(1, rank));
      all += run("scatter_v", [&] { return group.scatter_v(side.in, give.counts, give.at, side.out, size(1, rank), kType, id(1), o); });

      const int next = (rank + 1) % n, before = (rank + 2) % n;
      begin();
      block(input, 0, rank, next, unit), block(want, 0, before, rank, unit);
      all += run("send_recv", [&] { return group.send_recv(side.in, unit, id(next), side.out, unit, id(before), kType, o); });
    }
    return all;
  });
}

TEST_CASE("calls on device buffers in a group all begin before their stream waits: an exchange whose recvs come first, and collectives") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t count = GENERATE(1, 9'000);
  CAPTURE(transport, count);
  World world(transport, 2, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    const int peer = 1 - rank;
    Side a(group, count), b(group, 2 * count);  // b: what is sent, and what is taken
    b.stream = nullptr;
    const auto options = a.options();
    for (OpId op = 1; op <= 10; op += 2) {
      std::vector<std::uint64_t> message(2 * count, kPoison), want(2 * count, kPoison);
      for (std::size_t i = 0; i < count; ++i) message[i] = value(rank, peer, op, i), want[i] = value(peer, rank, op, i);
      if (a.put(rank, op) != "") return "put";
      std::memcpy(b.given, message.data(), 2 * count * 8);
      if (!a.stream->copy(b.in, b.given, 2 * count * 8) || !a.stream->copy(b.out, b.in, 2 * count * 8)) return "copy";
      (void)group.group_start().ok();
      Work recv = group.recv_async(b.out, count, kType, id(peer), options);
      Work first = group.all_reduce_async(a.in, a.out, count, kType, ReduceOp::kSum, options);
      Work send = group.send_async(b.in, count, kType, id(peer), options);
      Work second = group.all_reduce_async(b.in, b.in + count, count, kType, ReduceOp::kMax, options);
      if (!group.group_end()) return "group_end";
      const auto got = a.fetched();  // nobody has waited for an op
      if (!a.stream->copy(b.got, b.out, count * 8) || !a.stream->copy(b.got + count, b.in + count, count * 8)) return "copy";
      if (!a.stream->finish(now() + kBound)) return "the stream waits";
      for (Work* work : {&recv, &first, &send, &second})
        if (const auto outcome = work->wait(); !outcome) return outcome.error().detail;
      if (std::string wrong = wrong_sum(*first.wait(), got, op); !wrong.empty()) return wrong;
      for (std::size_t i = 0; i < count; ++i)
        if (b.got[i] != want[i] || b.got[count + i] != std::max(value(0, 1, op, i), value(1, 0, op, i))) return "wrong";
    }
    return "";
  });
}

TEST_CASE("messages of device buffers: all sends before all receives on one stream, which waits for each in turn") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t count = GENERATE(1, 9'000);
  const bool grouped = GENERATE(false, true);
  CAPTURE(transport, count, grouped);
  const int n = 3;
  World world(transport, n, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 2 * count);
    for (OpId op = 1; op <= 5; ++op) {
      std::vector<std::uint64_t> input(2 * count), want(2 * count);
      const int peers[] = {(rank + 1) % n, (rank + 2) % n};
      for (std::size_t p = 0; p < 2; ++p)
        for (std::size_t i = 0; i < count; ++i) {
          input[p * count + i] = value(rank, peers[p], op, i);
          want[p * count + i] = value(peers[p], rank, op, i);
        }
      if (side.put(input) != "") return "put";
      if (grouped) (void)group.group_start().ok();
      std::vector<Work> works;
      for (std::size_t p = 0; p < 2; ++p)
        works.push_back(group.send_async(side.in + p * count, count, kType, id(peers[p]), side.options()));
      for (std::size_t p = 0; p < 2; ++p)
        works.push_back(group.recv_async(side.out + p * count, count, kType, id(peers[p]), side.options()));
      if (grouped) (void)group.group_end().ok();
      (void)side.stream->zero(side.in, 2 * count * 8).ok();  // behind the sends: they have their own copies
      const auto got = side.fetched();  // nobody has waited for a message
      for (Work& work : works)
        if (const auto outcome = work.wait(); !outcome) return outcome.error().detail;
      if (got != want) return "wrong";
    }
    return "";
  });
}

TEST_CASE("messages of host and device buffers to one peer come in the order of the calls, however late the device's are") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    const std::size_t count = 700;
    Side side(group, count);
    for (OpId op = 1; op <= 20; ++op) {
      std::vector<std::uint64_t> device(count), host(count), first(count, kPoison), second(count, kPoison);
      for (std::size_t i = 0; i < count; ++i) device[i] = value(0, 1, op, i), host[i] = value(0, 2, op, i);
      if (rank == 0) {
        if (side.put(device) != "") return "put";
        Work late = group.send_async(side.in, count, kType, id(1), side.options());
        Work ready = group.send_async(host.data(), count, kType, id(1));
        if (!late.wait() || !ready.wait()) return "wait";
        continue;
      }
      const bool stays = group.recv(first.data(), count, kType, id(0)).ok() && group.recv(second.data(), count, kType, id(0)).ok();
      if (!stays || first != device || second != host) return "wrong";
    }
    return side.stream->finish(now() + kBound) ? "" : "the stream stands";
  });
}

TEST_CASE("a message of a device buffer whose peer dies, or that is taken back, touches nothing, and its stream goes on") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 2, with_device());
  REQUIRE(world.start() == "");
  Group& group = world.at(0);
  Side side(group, 2'000);
  REQUIRE(side.put(0, 1) == "");
  Work taken = group.recv_async(side.out, side.count, kType, id(1), side.options());
  taken.cancel();
  CHECK(taken.wait().code() == Code::kCancelled);
  CHECK(untouched(side.fetched()));
  Work recv = group.recv_async(side.out, side.count, kType, id(1), side.options());
  Work send = group.send_async(side.in, side.count, kType, id(1), side.options());
  world.drop(1);
  CHECK(recv.wait().code() == Code::kViewChanged);
  const std::vector<std::uint64_t> got = side.fetched();
  CHECK((got.size() == side.count && untouched(got)));
  CHECK(send.wait().code() == Code::kViewChanged);
}

// Ops that are carried out on devices: which are, and what decides it; members that cannot, or not this time.
#include "tests/conformance/device_side.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

// One all-reduce on device buffers. Empty, or what is wrong; `plan`: by which it must have been done.
std::string summed(Group& group, Side& side, int rank, OpId op, const std::string& plan) {
  if (std::string wrong = side.put(rank, op); !wrong.empty()) return wrong;
  const Result<Outcome> outcome = group.all_reduce(side.in, side.out, side.count, DataType::kU64, ReduceOp::kSum, side.options());
  if (!outcome) return side.fetched(), outcome.error().detail;
  if ((outcome->plan == std::string("device")) != (plan == "device")) return std::string("done by ") + outcome->plan;
  return wrong_sum(*outcome, side.fetched(), op);
}

}  // namespace

TEST_CASE("members that share a host carry ops on device buffers out there, of any size; over a network they do not") {
  const std::string transport = GENERATE("shm", "tcp");
  const std::size_t count = GENERATE(1, 3'000, 3'000'000);
  CAPTURE(transport, count);
  World world(transport, 3, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, count);
    for (OpId op = 1; op <= 4; ++op)
      if (std::string wrong = summed(group, side, rank, op, transport == "shm" ? "device" : "another"); !wrong.empty()) return wrong;
    return "";
  });
}

TEST_CASE("an op that one member has on the host is carried out there by all, and the next one is on the device again") {
  World world("shm", 3, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 5'000);
    for (OpId op = 1; op <= 9; ++op) {
      const bool host = op % 2 == 0 && rank == static_cast<int>(op % 3);
      if (!host) {
        if (std::string wrong = summed(group, side, rank, op, op % 2 == 0 ? "another" : "device"); !wrong.empty()) return wrong;
        continue;
      }
      std::vector<std::uint64_t> mine(side.count);
      fill(mine, rank, op);
      const Result<Outcome> outcome = group.all_reduce(mine.data(), mine.data(), mine.size(), DataType::kU64, ReduceOp::kSum);
      if (!outcome) return outcome.error().detail;
      if (std::string wrong = wrong_sum(*outcome, mine, op); !wrong.empty()) return wrong;
    }
    return "";
  });
}

TEST_CASE("a member that has no device, or wants none used, keeps all of a view on the host") {
  const int kind = GENERATE(0, 1, 2);
  CAPTURE(kind);
  World world("shm", 3, [&](int rank, Options& o) {
    with_device()(rank, o);
    if (kind == 2) o.apply = [](std::uint64_t, std::span<const StepResult>) { return Status{}; };  // all have it or none
    if (kind == 0 && rank == 1) o.device.clear();
    if (kind == 1 && rank == 1) o.device_plans = false;
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    const std::size_t count = 2'000;
    for (OpId op = 1; op <= 3; ++op) {
      if (rank == 1 && kind == 0) {
        std::vector<std::uint64_t> mine(count);
        fill(mine, rank, op);
        const Result<Outcome> outcome = group.all_reduce(mine.data(), mine.data(), count, DataType::kU64, ReduceOp::kSum);
        if (!outcome) return outcome.error().detail;
        if (std::string wrong = wrong_sum(*outcome, mine, op); !wrong.empty()) return wrong;
        continue;
      }
      Side side(group, count);
      if (std::string wrong = summed(group, side, rank, op, "another"); !wrong.empty()) return wrong;
    }
    return "";
  });
}

TEST_CASE("memory of a peer that cannot be opened: the op is redone on the host, and so are all that follow") {
  if (named_device() != nullptr) return;  // a GPU reaches what others lend
  World world("shm", 3, [](int rank, Options& o) { o.device = rank == 2 ? "host,closed=1" : "host"; });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 4'000);
    for (OpId op = 1; op <= 4; ++op)
      if (std::string wrong = summed(group, side, rank, op, "another"); !wrong.empty()) return wrong;
    return group.view().size() == 3 ? "" : "somebody went";
  });
}

TEST_CASE("who is left after a death goes on on the device, without what the dead one lent") {
  World world("shm", 3, [](int rank, Options& o) {
    with_device()(rank, o);
    if (rank == 2) o.failpoints = "after_first_chunk#3=call";
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 20'000);
    for (OpId op = 1; op <= 6; ++op) {
      const std::string wrong = summed(group, side, rank, op, "device");
      if (rank == 2 && op == 3) return wrong.empty() ? "did not die" : "";
      if (!wrong.empty()) return wrong;
    }
    return group.view().size() == 2 ? "" : "nobody went";
  });
}

TEST_CASE("device memory that comes and goes between ops is opened anew") {
  World world("shm", 2, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    for (OpId op = 1; op <= 90; ++op) {  // more than are kept open of a peer
      Side side(group, 100 + static_cast<std::size_t>(op));
      if (std::string wrong = summed(group, side, rank, op, "device"); !wrong.empty()) return wrong;
    }
    return "";
  });
}

TEST_CASE("ops launched as one, on the device: each has its own result until it is committed") {
  World world("shm", 3, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side a(group, 9'000), b(group, 30), c(group, 40'000);
    for (OpId op = 1; op <= 12; op += 3)
      if (std::string wrong = launched_as_one(group, rank, op, {&a, &b, &c}, [] { return std::string(); }, "device"); !wrong.empty()) return wrong;
    return "";
  });
}

TEST_CASE("where a waiting stream holds up others, no stream waits: calls return when their op is over") {
  if (named_device() != nullptr) return;
  const std::string transport = GENERATE("shm", "tcp");
  CAPTURE(transport);
  World world(transport, 2, [](int, Options& o) { o.device = "host,queues=1"; });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 6'000), other(group, 50);
    for (OpId op = 1; op <= 6; ++op) {
      if (std::string wrong = side.put(rank, op); !wrong.empty()) return wrong;
      Work work = group.all_reduce_async(side.in, side.out, side.count, DataType::kU64, ReduceOp::kSum, side.options());
      if (std::string wrong = other.put(rank, op); !wrong.empty()) return wrong;  // another stream goes on
      if (std::string wrong = wrong_sum(*work.wait(), side.fetched(), op); !wrong.empty()) return wrong;
    }
    const MemberId peer{static_cast<std::uint32_t>(1 - rank), 0};
    if (group.send_async(side.in, 50, DataType::kU64, peer, side.options()).wait().code() != Code::kUnsupported) return "a message of its own";
    std::vector<std::uint64_t> sent(side.count);
    fill(sent, rank, 90);
    if (side.put(sent) + other.put(rank, 91) != "") return "put";
    (void)group.group_start().ok();
    Work out = group.send_async(side.in, 50, DataType::kU64, peer, side.options());
    Work in = group.recv_async(other.out, 50, DataType::kU64, peer, other.options());
    (void)group.group_end().ok();
    if (!out.wait() || !in.wait()) return "a message in a group";
    std::vector<std::uint64_t> want(side.count);
    fill(want, 1 - rank, 90);
    want.resize(50);
    return other.fetched() == want ? "" : "the message";
  });
}

TEST_CASE("members that differ in the operation, or in the kind of op, are told so, on the device too, and go on there") {
  const std::string differs = GENERATE("operation", "barrier", "all_to_all_v");
  CAPTURE(differs);
  World world("shm", 3, with_device());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 700);
    if (std::string wrong = summed(group, side, rank, 1, "device"); !wrong.empty()) return wrong;
    if (std::string wrong = side.put(rank, 2); !wrong.empty()) return wrong;
    const ReduceOp op = rank == 1 && differs == "operation" ? ReduceOp::kMax : ReduceOp::kSum;
    const std::size_t counts[] = {100, 100, 100};
    const Result<Outcome> outcome =
        rank != 1 || differs == "operation" ? group.all_reduce(side.in, side.out, side.count, DataType::kU64, op, side.options())
        : differs == "barrier"              ? group.barrier(side.options())
                                            : group.all_to_all_v(side.in, counts, {}, side.out, counts, {}, DataType::kU64, side.options());
    if (outcome.code() != Code::kMismatch) return std::string("not kMismatch: ") + code_name(outcome.code());
    if (!untouched(side.fetched())) return "touched";
    return summed(group, side, rank, 3, "device");
  });
}

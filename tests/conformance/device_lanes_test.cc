// Ops on device buffers whose payloads UCX takes from the device's memory: which are, what decides it, and deaths in them.
#include "tests/conformance/device_side.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

World::Tweak direct() {
  return [](int rank, Options& o) {
    with_device()(rank, o);
    o.plan = "direct";
    if (named_device() != nullptr) o.ucx_device = "always";
  };
}

// One all-reduce on device buffers. Empty, or what is wrong; `there`: it is to be carried out there.
std::string summed(Group& group, Side& side, int rank, OpId op, bool there = true) {
  if (std::string wrong = side.put(rank, op); !wrong.empty()) return wrong;
  const Result<Outcome> outcome = group.all_reduce(side.in, side.out, side.count, DataType::kU64, ReduceOp::kSum, side.options());
  if (!outcome) return side.fetched(), outcome.error().detail;
  if ((outcome->plan == std::string("device")) != there) return std::string("done by ") + outcome->plan;
  return wrong_sum(*outcome, side.fetched(), op);
}

std::string summed_here(Group& group, std::size_t count, int rank, OpId op) {
  std::vector<std::uint64_t> mine(count);
  fill(mine, rank, op);
  const Result<Outcome> outcome = group.all_reduce(mine.data(), mine.data(), count, DataType::kU64, ReduceOp::kSum);
  return outcome ? wrong_sum(*outcome, mine, op) : outcome.error().detail;
}

}  // namespace

TEST_CASE("over UCX, ops on device buffers of any size are carried out there") {
  const int members = GENERATE(2, 3);
  const std::size_t count = GENERATE(9'000, 300'000, 3'000'000);
  CAPTURE(members, count);
  World world("ucx", members, direct());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, count);
    const Epoch epoch = group.view().epoch;
    for (OpId op = 1; op <= 8; ++op)
      if (std::string wrong = summed(group, side, rank, op); !wrong.empty()) return wrong;
    return group.view().epoch == epoch ? "" : "an epoch ended";
  });
}

TEST_CASE("over UCX, who knows first that all have their buffers on a device sends at once, and no epoch ends of it") {
  World world("ucx", 4, [](int rank, Options& o) {
    direct()(rank, o);
    if (named_device() == nullptr) o.device = "host";  // not late
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 2'000);
    const Epoch epoch = group.view().epoch;
    for (OpId op = 1; op <= 100; ++op)
      if (std::string wrong = summed(group, side, rank, op); !wrong.empty()) return wrong;
    return group.view().epoch == epoch ? "" : "an epoch ended";
  });
}

TEST_CASE("over UCX, small ops, and all where that is not wanted, go through the host") {
  const std::string wanted = GENERATE("auto", "never");
  const std::size_t count = wanted == "auto" ? 20 : 100'000;
  CAPTURE(wanted);
  World world("ucx", 3, [&](int rank, Options& o) {
    with_device()(rank, o);
    if (wanted == "never") o.plan = "direct";
    o.ucx_device = wanted;
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, count);
    for (OpId op = 1; op <= 3; ++op)
      if (std::string wrong = summed(group, side, rank, op, false); !wrong.empty()) return wrong;
    return "";
  });
}

TEST_CASE("over UCX, an op that one member has on the host is carried out there by all, and the next one on the device again") {
  const bool none = GENERATE(false, true);  // that member has no device at all
  CAPTURE(none);
  World world("ucx", 3, [&](int rank, Options& o) {
    direct()(rank, o);
    if (none && rank == 1) o.device.clear();
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    const std::size_t count = 50'000;
    std::optional<Side> side;
    if (!none || rank != 1) side.emplace(group, count);
    for (OpId op = 1; op <= 9; ++op) {
      const bool mixed = none || op % 2 == 0;
      const bool here = none ? rank == 1 : op % 2 == 0 && rank == static_cast<int>(op % 3);
      const std::string wrong = here ? summed_here(group, count, rank, op) : summed(group, *side, rank, op, !mixed);
      if (!wrong.empty()) return wrong;
    }
    return "";
  });
}

TEST_CASE("over UCX, a death in an op on devices: who is left has the right sum and goes on there") {
  const std::string where = GENERATE("after_submit", "after_first_chunk", "after_placed", "after_prepared");
  CAPTURE(where);
  World world("ucx", 3, [&](int rank, Options& o) {
    direct()(rank, o);
    if (rank == 2) o.failpoints = where + "#3=call";
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 200'000);
    for (OpId op = 1; op <= 6; ++op) {
      const std::string wrong = summed(group, side, rank, op);
      if (rank == 2 && op == 3) return wrong.empty() ? "did not die" : "";
      if (!wrong.empty()) return wrong;
    }
    return group.view().size() == 2 ? "" : "nobody went";
  });
}

TEST_CASE("over UCX, a device that is lost in an op takes its member along, and nobody else") {
  const int step = GENERATE(range(30, 60, 5));
  CAPTURE(step);
  if (named_device() != nullptr) return;
  World world("ucx", 3, [&](int rank, Options& o) {
    direct()(rank, o);
    if (rank == 1) o.device += ",fail_at=" + std::to_string(step);
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 100'000);
    for (OpId op = 1; op <= 8; ++op) {
      const std::string wrong = summed(group, side, rank, op);
      if (rank == 1 && !wrong.empty()) return group.device()->health() ? wrong : "";
      if (!wrong.empty()) return wrong;
    }
    return rank == 1 ? "its device was not lost" : group.view().size() == 2 ? "" : "nobody went";
  });
}

TEST_CASE("over UCX, ops launched as one, on the device, and other kinds between them") {
  World world("ucx", 3, direct());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side a(group, 90'000), b(group, 30), c(group, 30'000);
    const auto barrier = [&] { return std::string(group.barrier() ? "" : "barrier"); };
    for (OpId op = 1; op <= 12; op += 3)
      if (std::string wrong = launched_as_one(group, rank, op, {&a, &b, &c}, barrier); !wrong.empty()) return wrong;
    return "";
  });
}

TEST_CASE("over UCX, ops launched as one on devices that take longer than anybody waits for the next of them") {
  World world("ucx", 2, [](int rank, Options& o) {
    direct()(rank, o);
    o.wait_timeout_s = 20;
    if (named_device() == nullptr) o.device = rank == 0 ? "host" : "host,late_us=12000,seed=1";
  });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side a(group, 20'000), b(group, 9'000), c(group, 12'000);
    for (OpId op = 1; op <= 24; op += 3)
      if (std::string wrong = launched_as_one(group, rank, op, {&a, &b, &c}, [] { return std::string(); }); !wrong.empty()) return wrong;
    return "";
  });
}

TEST_CASE("over UCX, members that differ in the operation are told so, on the device too, and go on there") {
  World world("ucx", 3, direct());
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    Side side(group, 20'000);
    if (std::string wrong = summed(group, side, rank, 1); !wrong.empty()) return wrong;
    if (std::string wrong = side.put(rank, 2); !wrong.empty()) return wrong;
    const ReduceOp op = rank == 1 ? ReduceOp::kMax : ReduceOp::kSum;
    const Result<Outcome> outcome = group.all_reduce(side.in, side.out, side.count, DataType::kU64, op, side.options());
    if (outcome.code() != Code::kMismatch) return std::string("not kMismatch: ") + code_name(outcome.code());
    if (!untouched(side.fetched())) return "touched";
    return summed(group, side, rank, 3);
  });
}

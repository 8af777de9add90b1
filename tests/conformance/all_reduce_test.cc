// All-reduce: every type and operation, sizes around the corners, memory of every kind, 1 to 5 members; bit for bit.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"
#include "tests/kernels/inputs.h"

using namespace regroup;
using namespace regroup::conformance;
using regroup::testing::Buffer;

namespace {

struct Case {
  DataType type;
  ReduceOp op;
  std::size_t count;
  bool in_place;
  bool registered;
  std::size_t offset;  // bytes past an aligned address
  std::vector<Buffer> inputs;
  Buffer want;
};

std::vector<Case> all_cases(std::size_t members, bool exact) {
  const std::size_t counts[] = {0, 1, members > 1 ? members - 1 : 2, 37, 3001, 8193};  // elements
  std::vector<Case> cases;
  for (int t = 0; t < kDataTypeCount; ++t)
    for (int o = 0; o < kReduceOpCount; ++o)
      for (std::size_t count : counts) {
        const bool half = size_of(static_cast<DataType>(t)) == 2;
        if (exact && half && static_cast<ReduceOp>(o) == ReduceOp::kProd) continue;  // no product of many is exact
        const std::size_t n = cases.size();
        Case c{static_cast<DataType>(t), static_cast<ReduceOp>(o), count, n % 2 == 0, n / 2 % 2 == 0, n % 7, {}, {}};
        const auto flavour = n % 3 == 0 || exact ? testing::Flavour::kSmallIntegers : testing::Flavour::kSimilar;
        c.inputs = testing::make_inputs(c.type, flavour, count, members, n + 1);
        c.want = testing::reference_reduce(c.type, c.op, c.inputs);
        cases.push_back(std::move(c));
      }
  return cases;
}

// Empty, or what is wrong with one case at one member.
std::string run_case(Group& group, int rank, const Case& c, std::byte* from, std::byte* to) {
  const Buffer& input = c.inputs[static_cast<std::size_t>(rank)];
  from += c.offset;
  to += c.in_place ? 0 : c.offset / 2;
  if (c.in_place) to = from;
  const std::size_t bytes = input.size();
  std::memset(to, 0xa5, bytes);
  if (bytes != 0) std::memcpy(from, input.data(), bytes);
  const Result<Outcome> got = group.all_reduce(from, to, c.count, c.type, c.op);
  const std::string what = std::string(name_of(c.type)) + " " + name_of(c.op) + " x" + std::to_string(c.count) +
                           (c.in_place ? " in place" : "") + (c.registered ? " registered" : "") + " at rank " +
                           std::to_string(rank) + ": ";
  if (!got) return what + code_name(got.code()) + " " + got.error().detail;
  if (got->contributors() != c.inputs.size()) return what + std::to_string(got->contributors()) + " contributors";
  if (got->attempts != 1) return what + "redone without a failure";
  if (bytes != 0 && std::memcmp(to, c.want.data(), bytes) != 0) return what + "wrong bits";
  if (!c.in_place && bytes != 0 && std::memcmp(from, input.data(), bytes) != 0) return what + "input changed";
  return {};
}

}  // namespace

TEST_CASE("an all-reduce of every type, operation, size and memory has the reference's bits at every member") {
  const std::string transport = GENERATE(from_range(transports()));
  const int members = GENERATE(1, 2, 3, 4, 5);
  World world(transport, members);
  REQUIRE(world.start() == "");
  const std::vector<Case> cases = all_cases(static_cast<std::size_t>(members), !in_member_order(transport));
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    constexpr std::size_t kBytes = 8193 * 8 + 16;
    Group& group = world.at(rank);
    std::vector<std::byte> from(kBytes), to(kBytes);
    Result<void*> reg_from = group.allocate(kBytes), reg_to = group.allocate(kBytes);
    if (!reg_from || !reg_to) return "no registered memory";
    for (const Case& c : cases) {
      auto* in = c.registered ? static_cast<std::byte*>(*reg_from) : from.data();
      auto* out = c.registered ? static_cast<std::byte*>(*reg_to) : to.data();
      if (std::string w = run_case(group, rank, c, in, out); !w.empty()) {
        group.detach();
        return w;
      }
    }
    if (!group.deallocate(*reg_from).ok() || !group.deallocate(*reg_to).ok()) return "deallocate failed";
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("an all-reduce of many chunks commits the right sum, blocking and with several in flight") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t in_flight = GENERATE(1, 3);
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto histories = World::each(world.ranks(), [&](int rank) {
    return run_ops(world.at(rank), rank, {.count = 400'003, .first = 1, .ops = 6, .in_flight = in_flight});
  });
  CHECK(disagreement(histories) == "");
  CHECK(histories[0].back().contributors.size() == 3);
}

TEST_CASE("sizes that change from op to op, small and large mixed, keep every op's own bits") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto histories = World::each(world.ranks(), [&](int rank) {
    History history;
    for (OpId op = 1; op <= 60; ++op) {
      const std::size_t counts[] = {1, 700, 40'000, 3, 9'001, 512, 513};
      history.push_back(one_op(world.at(rank), rank, op, counts[op % 7]));
    }
    return history;
  });
  CHECK(disagreement(histories) == "");
}

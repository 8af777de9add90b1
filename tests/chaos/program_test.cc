#include "tools/chaos/program.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <set>

using namespace regroup;
using namespace regroup::chaos;

namespace {

Program program(std::uint32_t depth = 4) { return {7, 8, 64 << 10, depth}; }

// The sum of what two ranks put into a symbolic op, made here.
std::vector<std::uint64_t> sum_of_two(Program& p, const StepOp& op, std::uint64_t step) {
  std::vector<std::uint64_t> a(op.count), b(op.count);
  p.fill(op, step, 2, a.data());
  p.fill(op, step, 5, b.data());
  for (std::size_t i = 0; i < op.count; ++i) a[i] += b[i];
  return a;
}

std::uint64_t symbolic_step(const Program& p, std::size_t at_least) {
  for (std::uint64_t step = 0;; ++step)
    if (const StepOp op = p.at(step); op.symbolic && op.count >= at_least) return step;
}

}  // namespace

TEST_CASE("every member draws the same op for a step, and all types, operations and sizes come") {
  const Program a = program(), b = program();
  std::set<DataType> types;
  std::set<ReduceOp> ops;
  std::set<std::uint32_t> in_flight;
  std::size_t smallest = SIZE_MAX, largest = 0;
  for (std::uint64_t step = 0; step < 3000; ++step) {
    const StepOp x = a.at(step), y = b.at(step);
    REQUIRE((x.type == y.type && x.op == y.op && x.count == y.count));
    REQUIRE(x.count * size_of(x.type) <= 64 << 10);
    REQUIRE((x.offset + x.count) * size_of(x.type) <= a.buffer_bytes());
    types.insert(x.type), ops.insert(x.op), in_flight.insert(x.in_flight);
    smallest = std::min(smallest, x.count), largest = std::max(largest, x.count * size_of(x.type));
  }
  CHECK(types.size() == kDataTypeCount);
  CHECK(ops.size() == kReduceOpCount);
  CHECK(in_flight == std::set<std::uint32_t>{1, 2, 3, 4});
  CHECK(smallest == 0);
  CHECK(largest > 48 << 10);
}

TEST_CASE("a symbolic result shows who is in it, and how often") {
  Program p = program();
  const std::uint64_t step = symbolic_step(p, 5000);
  const StepOp op = p.at(step);
  std::vector<std::uint64_t> sum = sum_of_two(p, op, step);
  CHECK(p.count_wrong(op, step, 1 << 2 | 1 << 5, sum.data()) == 0);
  CHECK(p.count_wrong(op, step, 1 << 2, sum.data()) == op.count);
  std::vector<std::uint64_t> again(op.count);
  p.fill(op, step, 5, again.data());
  sum[4999] += again[4999];  // twice in one element
  CHECK(p.count_wrong(op, step, 1 << 2 | 1 << 5, sum.data()) == 1);
}

TEST_CASE("a shard in a wrong place and a shard of another step are wrong, in every type") {
  Program p = program();
  std::map<DataType, int> seen;
  for (std::uint64_t step = 0; seen.size() < kDataTypeCount; ++step) {
    const StepOp op = p.at(step);
    if (op.symbolic || op.op == ReduceOp::kProd || op.count < 3000 || seen[op.type]++ > 0) continue;
    const std::size_t size = size_of(op.type);
    std::vector<std::byte> in(op.count * size), other(op.count * size);
    p.fill(op, step, 3, in.data());
    REQUIRE(p.count_changed(op, step, 3, in.data()) == 0);
    CHECK(p.count_wrong(op, step, 1 << 3, in.data()) == 0);  // one contributor: its input
    p.fill(op, step + 1, 3, other.data());
    CHECK(p.count_wrong(op, step, 1 << 3, other.data()) > op.count / 3);
    std::memmove(in.data(), in.data() + 500 * size, 1000 * size);
    CHECK(p.count_wrong(op, step, 1 << 3, in.data()) > 300);
    CHECK(p.count_changed(op, step, 3, in.data()) > 300);
  }
}

TEST_CASE("a result without contributors is wrong") {
  Program p = program();
  CHECK(p.count_wrong(p.at(1), 1, 0, nullptr) > 0);
}

// What each collective program says of its collective: counts, factors, the right output; and that every wrong output
// is seen.
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "bench/check.h"
#include "bench/collective.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

using Buffer = std::vector<float>;

constexpr std::size_t kRanks = 4;
constexpr std::size_t kRoot = 2;
const std::vector<std::uint32_t> kMembers = {0, 1, 2, 3};

std::vector<Buffer> inputs_of(const Collective& c, const Pattern& pattern, std::size_t count) {
  std::vector<Buffer> out;
  for (std::size_t r = 0; r < kRanks; ++r) {
    Buffer in(c.shape(count, kRanks, r).in);
    fill(pattern, static_cast<std::uint32_t>(r), in.data(), in.size());
    out.push_back(in);
  }
  return out;
}

// What MPI's text says of each collective, written down once more: block `b` of a buffer of blocks of `count`.
float element(const std::string& name, const std::vector<Buffer>& in, std::size_t count, std::size_t self,
              std::size_t i) {
  const auto fold = [&](std::size_t at) { return in[0][at] + in[1][at] + in[2][at] + in[3][at]; };
  const std::size_t block = count == 0 ? 0 : i / count, rest = count == 0 ? 0 : i % count;
  if (name == "all_reduce_perf" || name == "reduce_perf") return fold(i);
  if (name == "reduce_scatter_perf") return fold(self * count + i);
  if (name == "all_gather_perf" || name == "gather_perf") return in[block][rest];
  if (name == "alltoall_perf") return in[block][self * count + rest];
  if (name == "broadcast_perf") return in[kRoot][i];
  if (name == "scatter_perf") return in[kRoot][self * count + i];
  return in[(self + kRanks - 1) % kRanks][i];  // sendrecv_perf
}

bool takes(const std::string& name, std::size_t self) {
  if (name == "reduce_perf" || name == "gather_perf") return self == kRoot;
  return name != "broadcast_perf" || self != kRoot;
}

}  // namespace

TEST_CASE("a right output is right and any other is wrong, for every collective and member") {
  constexpr std::size_t kCount = 1000;
  for (const Collective* c : all_collectives()) {
    const std::string name = c->program;
    const Pattern pattern{DataType::kF32, ReduceOp::kSum, 7, kRanks};
    Pattern before = pattern;
    before.seed = 6;
    const auto in = inputs_of(*c, pattern, kCount), stale = inputs_of(*c, before, kCount);
    for (std::size_t self = 0; self < kRanks; ++self) {
      INFO(name << " member " << self);
      const Viewer viewer{kMembers, self, kRoot};
      CHECK(c->parts(kCount, kRanks, self, kRoot).empty() == !takes(name, self));
      if (!takes(name, self)) continue;
      Buffer out(c->shape(kCount, kRanks, self).out), old(out.size());
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = element(name, in, kCount, self, i);
      for (std::size_t i = 0; i < out.size(); ++i) old[i] = element(name, stale, kCount, self, i);
      CHECK(wrong_elements(*c, pattern, viewer, out.data(), kCount) == 0);
      CHECK(wrong_elements(*c, pattern, viewer, old.data(), kCount) > out.size() * 9 / 10);
      const Viewer other{kMembers, (self + 1) % kRanks, kRoot};
      if (name == "alltoall_perf" || name == "scatter_perf" || name == "reduce_scatter_perf" ||
          name == "sendrecv_perf") {
        CHECK(wrong_elements(*c, pattern, other, out.data(), kCount) > out.size() / 2);
      }
      out.back() += 1;
      CHECK(wrong_elements(*c, pattern, viewer, out.data(), kCount) == 1);
      poison(out.data(), out.size() * sizeof(float));
      CHECK(wrong_elements(*c, pattern, viewer, out.data(), kCount) == out.size());
    }
  }
}

TEST_CASE("bus bandwidth factors are those of nccl-tests") {
  const std::pair<const char*, double> factors[] = {
      {"all_reduce_perf", 1.5}, {"all_gather_perf", 0.75}, {"reduce_scatter_perf", 0.75},
      {"alltoall_perf", 0.75},  {"gather_perf", 0.75},     {"scatter_perf", 0.75},
      {"broadcast_perf", 1},    {"reduce_perf", 1},        {"sendrecv_perf", 1},
  };
  CHECK(all_collectives().size() == std::size(factors));
  for (const auto& [name, factor] : factors) {
    INFO(name);
    REQUIRE(find_collective(name) != nullptr);
    CHECK(find_collective(name)->bus_factor(4) == factor);
  }
  CHECK(find_collective("all_reduce")->bus_factor(2) == 1);
  CHECK(find_collective("hypercube_perf") == nullptr);
}

TEST_CASE("blocks are rounded down to 16 bytes, whole buffers are not") {
  // 1,000 bytes among 3 ranks: 333 bytes each, 320 of them in whole pieces of 16 bytes.
  CHECK(find_collective("all_gather")->count(250, 4, 3) == 80);
  CHECK(find_collective("alltoall")->count(1000, 1, 3) == 320);
  CHECK(find_collective("gather")->count(125, 8, 3) == 40);
  CHECK(find_collective("reduce_scatter")->count(1, 4, 3) == 0);
  CHECK(find_collective("all_reduce")->count(250, 4, 3) == 250);
  CHECK(find_collective("sendrecv")->count(7, 2, 3) == 7);
}

TEST_CASE("in place, a block lies where the member's block lies") {
  const auto is = [](const Shape& s, std::size_t in, std::size_t out, std::size_t in_at, std::size_t out_at) {
    return s.in == in && s.out == out && s.in_at == in_at && s.out_at == out_at;
  };
  CHECK(is(find_collective("all_gather")->shape(10, 4, 3), 10, 40, 30, 0));
  CHECK(is(find_collective("gather")->shape(10, 4, 3), 10, 40, 30, 0));
  CHECK(is(find_collective("reduce_scatter")->shape(10, 4, 3), 40, 10, 0, 30));
  CHECK(is(find_collective("scatter")->shape(10, 4, 3), 40, 10, 0, 30));
  CHECK(is(find_collective("alltoall")->shape(10, 4, 3), 40, 40, 0, 0));
  CHECK(is(find_collective("broadcast")->shape(10, 4, 3), 10, 10, 0, 0));
}

TEST_CASE("memory that nobody wrote is all poison, and one written byte shows") {
  std::vector<unsigned char> memory(1000);
  poison(memory.data(), memory.size());
  CHECK(count_touched(memory.data(), memory.size()) == 0);
  memory[999] = 0;
  CHECK(count_touched(memory.data(), memory.size()) == 1);
}

TEST_CASE("a view's members have positions, a stranger has none") {
  ViewInfo view;
  view.members = {{0, 0}, {2, 0}, {5, 0}};
  CHECK(position_of(view, {5, 0}) == 2);
  CHECK(position_of(view, {1, 0}) == 3);
  CHECK(ranks_of(view) == std::vector<std::uint32_t>{0, 2, 5});
}

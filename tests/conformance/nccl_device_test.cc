// Groups over whichever NCCL REGROUP_NCCL_LIBRARY names: the real one on a GPU (`make gpu-test PART=nccl`), else the
// stand-in on the host device. Every op is right, NCCL carries ops again after a death and a return. While communicators
// are made or ended the buffers are the host's: what NCCL does then may wait for every stream of a GPU, and here all
// ranks are threads of one process.
#include "tests/conformance/device_side.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

constexpr std::size_t kLarge = 40'000;
constexpr OpId kOpsOnDevice = 10;
constexpr double kPatience_s = 60;  // of making communicators

// One op of u64 at every rank given; empty, or what is wrong. `plan`: by which it went.
std::string op_at(World& world, const std::vector<int>& ranks, OpId op, std::string& plan) {
  struct One {
    std::string wrong, plan;
  };
  const auto all = World::each(ranks, [&](int rank) -> One {
    std::vector<std::uint64_t> in(kLarge), out(kLarge, kPoison);
    fill(in, rank, op);
    const Result<Outcome> got = world.at(rank).all_reduce(in.data(), out.data(), kLarge, DataType::kU64, ReduceOp::kSum);
    if (!got) return {std::string(code_name(got.code())) + ": " + got.error().detail, ""};
    return {wrong_sum(*got, out, op), got->plan};
  });
  for (const One& one : all) {
    if (!one.wrong.empty()) return one.wrong;
    if (one.plan != all[0].plan) return "members went different ways";
  }
  plan = all[0].plan;
  return {};
}

// Ops on device buffers; empty, or what is wrong.
std::string on_device(Group& group, int rank, OpId first) {
  Side side(group, kLarge);
  for (OpId op = first; op < first + kOpsOnDevice; ++op) {
    if (std::string wrong = side.put(rank, op); !wrong.empty()) return wrong;
    const Result<Outcome> got = group.all_reduce(side.in, side.out, kLarge, DataType::kU64, ReduceOp::kSum, side.options());
    if (!got) return std::string(code_name(got.code())) + ": " + got.error().detail;
    if (std::string wrong = wrong_sum(*got, side.fetched(), op); !wrong.empty()) return wrong;
    if (got->plan != std::string("nccl")) return std::string("by ") + got->plan;
  }
  return {};
}

// Ops until NCCL carries one, then some on device buffers.
bool comes_to_nccl(World& world, const std::vector<int>& ranks, OpId& op) {
  std::string wrong, plan;
  const bool came = eventually([&] { return !(wrong = op_at(world, ranks, ++op, plan)).empty() || plan == "nccl"; }, kPatience_s);
  CHECK(wrong == "");
  if (!came || !wrong.empty()) return false;
  for (const std::string& said : World::each(ranks, [&](int rank) { return on_device(world.at(rank), rank, op + 1); })) CHECK(said == "");
  op += kOpsOnDevice;
  return true;
}

// Sums of small numbers, exact in every type, host buffers.
template <class T>
std::string sum_of(Group& group, int rank, DataType type, std::string& plan) {
  std::vector<T> in(kLarge), out(kLarge);
  for (std::size_t i = 0; i < kLarge; ++i) in[i] = static_cast<T>(i % 7 + static_cast<std::size_t>(rank));
  const Result<Outcome> got = group.all_reduce(in.data(), out.data(), kLarge, type, ReduceOp::kSum);
  if (!got) return got.error().detail;
  plan = got->plan;
  for (std::size_t i = 0; i < kLarge; ++i)
    if (out[i] != static_cast<T>(3 * (i % 7) + 3)) return "element " + std::to_string(i);
  return {};
}

}  // namespace

TEST_CASE("NCCL carries every kind that it takes, on device and host buffers, right bits at all") {
  World world("nccl", 3, with_device());
  REQUIRE(world.start() == "");
  OpId op = 0;
  REQUIRE(comes_to_nccl(world, world.ranks(), op));
  const auto kinds = [&](int rank) -> std::string {
    Group& group = world.at(rank);
    std::vector<std::uint64_t> in(3 * kLarge), out(3 * kLarge);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = i + 1'000'000u * static_cast<unsigned>(rank + 1);
    const auto type = DataType::kU64;
    const auto by = [](const Result<Outcome>& got) { return got.ok() ? std::string(got->plan) : got.error().detail; };
    std::string said;
    const auto expect = [&](const char* what, bool right) { said += right ? "" : std::string(" ") + what; };
    std::string plans = by(group.reduce_scatter(in.data(), out.data(), kLarge, type, ReduceOp::kMax));
    for (std::size_t i = 0; i < kLarge; ++i)
      if (out[i] != 3'000'000u + kLarge * static_cast<std::size_t>(rank) + i) return "reduce_scatter " + std::to_string(i);
    plans += " " + by(group.all_gather(in.data(), out.data(), kLarge, type));
    for (std::size_t i = 0; i < 3 * kLarge; ++i)
      if (out[i] != 1'000'000u * (i / kLarge + 1) + i % kLarge) return "all_gather " + std::to_string(i);
    plans += " " + by(group.broadcast(in.data(), kLarge, type, {1, 0}));
    expect("broadcast", in[5] == 2'000'005u && in[kLarge - 1] == 2'000'000u + kLarge - 1);
    expect(plans.c_str(), plans == "nccl nccl nccl");
    return said;
  };
  const auto types = [&](int rank) -> std::string {
    std::string plan, all;
    all += sum_of<float>(world.at(rank), rank, DataType::kF32, plan);
    all += sum_of<double>(world.at(rank), rank, DataType::kF64, plan);
    all += sum_of<std::int32_t>(world.at(rank), rank, DataType::kI32, plan);
    all += sum_of<std::uint8_t>(world.at(rank), rank, DataType::kU8, plan);
    all += sum_of<std::int64_t>(world.at(rank), rank, DataType::kI64, plan);
    return plan == "nccl" ? all : all + " by " + plan;
  };
  for (int round = 0; round < 20; ++round) {  // the first ops of a size go over links while memory is fetched
    const auto said = World::each(world.ranks(), kinds);
    if (round == 19 || std::count(said.begin(), said.end(), "") == 3)
      for (const std::string& s : said) CHECK(s == "");
    if (std::count(said.begin(), said.end(), "") == 3) break;
  }
  for (const std::string& s : World::each(world.ranks(), types)) CHECK(s == "");
}

TEST_CASE("after a death the others' ops are right, and come back to NCCL; so after a return") {
  World world("nccl", 3, with_device());
  REQUIRE(world.start() == "");
  OpId op = 0;
  REQUIRE(comes_to_nccl(world, world.ranks(), op));
  world.at(2).detach();
  REQUIRE(comes_to_nccl(world, {0, 1}, op));
  CHECK(world.at(0).view().size() == 2);
  world.drop(2);
  REQUIRE(World::each({2}, [&](int rank) { return world.join(rank).ok(); })[0]);
  CHECK(comes_to_nccl(world, world.ranks(), op));
  CHECK(world.at(1).view().size() == 3);
}

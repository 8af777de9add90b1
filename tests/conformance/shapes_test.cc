// Every collective: bytes, roots, forms in place, memory of all kinds, types; and what a death does to each.
#include <algorithm>
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/conformance/collective.h"
#include "tests/conformance/world.h"
#include "tests/kernels/inputs.h"

using namespace regroup;
using namespace regroup::conformance;
using regroup::testing::Buffer;

namespace {

// All calls that one world makes, the same at every member.
std::vector<Call> all_calls(int members) {
  std::vector<Call> calls;
  for (const OpKind kind : kinds())
    for (const std::size_t count : {0u, 1u, 2u, 37u, 5001u}) {
      const std::size_t n = calls.size();
      Call call{kind,  count, static_cast<int>(n % static_cast<std::size_t>(members)), n % 2 == 1, n % 3 == 1,
                false, n % 7};
      calls.push_back(call);
      call.in_place = !call.in_place;
      call.root = members - 1 - call.root;
      calls.push_back(call);
      call.in_place =
          false;  // and with the output given as scratch, from memory that peers read directly and from private one
      call.output_scratch = true;
      for (const bool registered : {true, false}) {
        call.registered = registered;
        calls.push_back(call);
      }
    }
  return calls;
}

bool redone(OpKind kind) {
  return kind == OpKind::kAllReduce || kind == OpKind::kReduce || kind == OpKind::kBroadcast ||
         kind == OpKind::kBarrier;
}

}  // namespace

TEST_CASE("every collective puts every byte in its place and touches no other, from any root and in place") {
  const std::string transport = GENERATE(from_range(transports()));
  const int members = GENERATE(1, 2, 3, 5);
  World world(transport, members);
  REQUIRE(world.start() == "");
  const std::vector<Call> calls = all_calls(members);
  const auto histories = World::each(world.ranks(), [&](int rank) {
    History history;
    for (const Call& call : calls) {
      history.push_back(run_call(world.at(rank), rank, history.size() + 1, call));
      if (!history.back().wrong.empty() || history.back().code != Code::kOk) {
        world.at(rank).detach();
        break;
      }
    }
    return history;
  });
  CHECK(not_uniform(histories, false) == "");
  CHECK(histories[0].size() == calls.size());
}

TEST_CASE("an input may lie across the blocks of its own output") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    constexpr std::size_t n = 3;
    const auto value = [](std::size_t from, std::size_t to, std::size_t i) {
      return std::uint64_t{from + 1} << 48 | std::uint64_t{to + 1} << 40 | i;
    };
    const auto self = static_cast<std::size_t>(rank);
    for (const std::size_t block : {5u, 3001u, 400'003u})
      for (const std::size_t shift : {std::size_t{1}, block / 2, block + 1}) {
        const std::string what = std::to_string(block) + " shifted by " + std::to_string(shift) + ": ";
        std::vector<std::uint64_t> memory(2 * n * block + 2);
        std::uint64_t* in = memory.data() + shift;
        for (std::size_t i = 0; i < block; ++i) in[i] = value(self, 0, i);
        const Result<Outcome> a = world.at(rank).all_gather(in, memory.data(), block, DataType::kU64);
        if (!a) return what + code_name(a.code()) + " " + a.error().detail;
        for (std::size_t i = 0; i < n * block; ++i)
          if (memory[i] != value(i / block, 0, i % block)) return what + "all-gather, element " + std::to_string(i);
        for (std::size_t i = 0; i < n * block; ++i) in[i] = value(self, i / block, i % block);
        const Result<Outcome> b = world.at(rank).all_to_all(in, memory.data(), block, DataType::kU64);
        if (!b) return what + code_name(b.code()) + " " + b.error().detail;
        for (std::size_t i = 0; i < n * block; ++i)
          if (memory[i] != value(i / block, self, i % block)) return what + "all-to-all, element " + std::to_string(i);
      }
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("reduce and reduce-scatter of every type and operation have the reference's bits") {
  const std::string transport = GENERATE(from_range(transports()));
  const int members = GENERATE(2, 3);
  World world(transport, members, [](int, Options& options) { options.small_bytes = 4096; });
  REQUIRE(world.start() == "");
  const auto n = static_cast<std::size_t>(members);
  const auto flavour = in_member_order(transport) ? testing::Flavour::kSimilar : testing::Flavour::kSmallIntegers;
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    for (int t = 0; t < kDataTypeCount; ++t)
      for (int o = 0; o < kReduceOpCount; ++o)
        for (const std::size_t block : {1u, 333u, 2049u}) {
          const auto type = static_cast<DataType>(t);
          const auto reduction = static_cast<ReduceOp>(o);
          const auto inputs = testing::make_inputs(type, flavour, block * n, n, block + static_cast<std::size_t>(t));
          const Buffer want = testing::reference_reduce(type, reduction, inputs);
          const Buffer& in = inputs[static_cast<std::size_t>(rank)];
          const std::size_t bytes = block * size_of(type);
          Buffer part(bytes, 0xa5), whole(bytes * n, 0xa5);
          const std::string what =
              std::string(name_of(type)) + " " + name_of(reduction) + " x" + std::to_string(block) + ": ";
          const Result<Outcome> a = group.reduce_scatter(in.data(), part.data(), block, type, reduction);
          if (!a) return what + code_name(a.code()) + " " + a.error().detail;
          if (std::memcmp(part.data(), want.data() + static_cast<std::size_t>(rank) * bytes, bytes) != 0)
            return what + "reduce-scatter";
          const std::uint32_t root = static_cast<std::uint32_t>(block) % static_cast<std::uint32_t>(n);
          const Result<Outcome> b = group.reduce(in.data(), whole.data(), block * n, type, reduction, {root, 0});
          if (!b) return what + code_name(b.code()) + " " + b.error().detail;
          if (static_cast<std::uint32_t>(rank) == root ? whole != want : whole != Buffer(bytes * n, 0xa5))
            return what + "reduce";
        }
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE(
    "whatever the collective, deaths inside it end it the same way at every survivor and leave failed buffers intact") {
  const std::string transport = GENERATE(from_range(transports()));
  const OpKind kind = GENERATE(from_range(kinds()));
  const bool scratch = GENERATE(false, true);  // outputs given as scratch
  if (scratch && transport != "shm") return;
  CAPTURE(transport, name_of(kind), scratch);
  const std::size_t count = static_cast<int>(kind) % 2 != 0 ? 20'001 : 6'007;
  World world(transport, 5, [](int rank, Options& options) {
    const char* at[] = {"", "", "before_copy_out#8=call", "after_prepared#5=call", "after_first_chunk#2=call"};
    options.failpoints = at[rank];
    options.small_bytes = 4096;
  });
  REQUIRE(world.start() == "");
  auto histories = World::each(world.ranks(), [&](int rank) {
    History history;
    for (OpId op = 1; op <= 16; ++op) {
      history.push_back(run_call(
          world.at(rank), rank, op,
          {kind, count, static_cast<int>(op % 2), op % 3 == 0, scratch && op % 2 == 0, scratch && op % 3 != 0}));
      if (history.back().code == Code::kClosed || history.back().code == Code::kUnavailable) break;
    }
    return history;
  });
  const std::vector<History> living(histories.begin(), histories.begin() + 2);
  REQUIRE(not_uniform(living, !redone(kind)) == "");
  CHECK(living[0].size() == 16);
  CHECK(living[0].back().code == Code::kOk);
  CHECK(living[0].back().contributors == std::vector<std::uint32_t>{0, 1});
  std::size_t failures = 0;
  for (const Seen& seen : living[0]) failures += seen.code == Code::kViewChanged;
  if (!redone(kind)) CHECK(failures >= 1);  // the first death is before anybody was prepared
  CHECK(failures <= 6);
  for (std::size_t d = 2; d < 5; ++d)  // what the dead saw committed or failed is what the living saw
    for (std::size_t k = 0; k < histories[d].size() && histories[d][k].code != Code::kClosed; ++k) {
      CHECK(histories[d][k].wrong == "");
      CHECK(histories[d][k].code == living[0][k].code);
      CHECK(histories[d][k].contributors == living[0][k].contributors);
    }
  for (std::size_t d = 2; d < 5; ++d) CHECK(histories[d].back().code == Code::kClosed);
}

TEST_CASE("a barrier under deaths is redone by who is left, and lets nobody through before all of those have come") {
  const std::string transport = GENERATE(from_range(transports()));
  constexpr std::size_t kRounds = 12;
  World world(transport, 4, [](int rank, Options& options) {
    const char* at[] = {"", "", "after_submit#7=call", "after_prepared#4=call"};
    options.failpoints = at[rank];
  });
  REQUIRE(world.start() == "");
  std::array<std::atomic<std::size_t>, 2> entered{};  // of the two that live
  const auto histories = World::each(world.ranks(), [&](int rank) {
    History history;
    for (OpId op = 1; op <= kRounds; ++op) {
      if (rank < 2) entered[static_cast<std::size_t>(rank)].store(op);
      history.push_back(run_call(world.at(rank), rank, op, {OpKind::kBarrier}));
      if (history.back().code == Code::kClosed) break;
      for (const auto& e : entered)
        if (e.load() < op) history.back().wrong = "through before all had come";
    }
    return history;
  });
  const std::vector<History> living(histories.begin(), histories.begin() + 2);
  CHECK(not_uniform(living, false) == "");
  REQUIRE(living[0].size() == kRounds);
  CHECK(living[0].front().contributors.size() == 4);
  CHECK(living[0].back().contributors == std::vector<std::uint32_t>{0, 1});
  for (std::size_t d = 2; d < 4; ++d) {
    CHECK(histories[d].back().code == Code::kClosed);
    for (const Seen& seen : histories[d]) CHECK(seen.wrong == "");
  }
}

TEST_CASE("tables that differ fail the op at every member, name two of them, and touch nothing") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::size_t count = GENERATE(5, 20'000);
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    std::vector<std::uint64_t> in(3 * count, 7), out(3 * count + 9, kPoison);
    const std::vector<std::size_t> counts(3, count);
    std::vector<std::size_t> odd = counts;
    if (rank == 1) odd[2] += 1;
    const Result<Outcome> a = group.all_to_all_v(in.data(), counts, {}, out.data(), odd, {}, DataType::kU64);
    if (a.code() != Code::kMismatch) return std::string("all_to_all_v: ") + code_name(a.code());
    if (a.error().detail.find('1') == std::string::npos || a.error().detail.find('2') == std::string::npos)
      return a.error().detail;
    if (!untouched(out)) return "all_to_all_v touched its output";
    (void)group.view();  // the decision made a new view
    const Result<Outcome> b = group.all_gather_v(in.data(), out.data(), odd, DataType::kU64);
    if (b.code() != Code::kMismatch) return std::string("all_gather_v: ") + code_name(b.code());
    if (!untouched(out)) return "all_gather_v touched its output";
    const Seen next = run_call(group, rank, 3, {OpKind::kAllToAllV, count});
    if (next.code != Code::kOk) return std::string("the next op: ") + code_name(next.code) + " " + next.detail;
    return next.wrong;
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("grouped calls commit together, mixed in kind and size, more of them than the window holds") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3, [](int, Options& options) { options.window = 4; });
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    constexpr std::size_t kOps = 11;
    for (OpId round = 0; round < 6; ++round) {
      std::vector<std::vector<std::uint64_t>> in(kOps), out(kOps);
      std::vector<Work> work;
      if (!group.group_start().ok()) return "group_start";
      if (group.group_start().code() != Code::kInvalid) return "a group inside a group";
      if (group.barrier().code() != Code::kInvalid) return "a blocking call inside a group";
      for (std::size_t k = 0; k < kOps; ++k) {
        in[k].resize(k % 3 == 0 ? 9'001 : 11);
        fill(in[k], rank, round * kOps + k + 1);
        out[k].assign(in[k].size() * (k % 2 != 0 ? 3 : 1), kPoison);
        work.push_back(k % 2 != 0 ? group.all_gather_async(in[k].data(), out[k].data(), in[k].size(), DataType::kU64)
                                  : group.all_reduce_async(in[k].data(), out[k].data(), in[k].size(), DataType::kU64,
                                                           ReduceOp::kSum));
      }
      if (!group.group_end().ok()) return "group_end";
      for (std::size_t k = 0; k < kOps; ++k) {
        const Result<Outcome> got = work[k].wait(kBound_s);
        if (!got) return std::string(code_name(got.code())) + " " + got.error().detail;
        const OpId op = round * kOps + k + 1;
        if (got->op != op) return "wrong op number";
        if (k % 2 == 0) {
          if (std::string w = wrong_sum(*got, out[k], op); !w.empty()) return w;
          continue;
        }
        for (int m = 0; m < 3; ++m) {
          std::vector<std::uint64_t> block(in[k].size());
          fill(block, m, op);
          if (!std::equal(block.begin(), block.end(),
                          out[k].begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(m) * block.size())))
            return "wrong block";
        }
      }
    }
    return group.group_end().code() == Code::kInvalid ? "" : "group_end without a group";
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("a member that dies inside a group of calls costs the others none of those that can be redone") {
  const std::string transport = GENERATE(from_range(transports()));
  const std::string point =
      GENERATE(as<std::string>{}, "after_first_chunk#7", "after_placed#4", "after_prepared#2", "before_copy_out#6");
  CAPTURE(transport, point);
  World world(transport, 3, [&](int rank, Options& options) {
    if (rank == 2) options.failpoints = point + "=call";
  });
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    constexpr std::size_t kOps = 5;
    std::size_t contributors = 3;
    for (OpId round = 0; round < 5; ++round) {
      std::vector<std::vector<std::uint64_t>> in(kOps), out(kOps);
      std::vector<Work> work;
      (void)group.group_start().ok();
      for (std::size_t k = 0; k < kOps; ++k) {
        in[k].resize(k % 2 == 0 ? 9'001 : 11);
        fill(in[k], rank, round * kOps + k + 1);
        out[k].assign(in[k].size(), kPoison);
        work.push_back(
            group.all_reduce_async(in[k].data(), out[k].data(), in[k].size(), DataType::kU64, ReduceOp::kSum));
      }
      (void)group.group_end().ok();
      bool over = false;
      for (std::size_t k = 0; k < kOps; ++k) {
        const Result<Outcome> got = work[k].wait(kBound_s);
        over = over || got.code() == Code::kClosed;
        if (over && rank == 2) continue;
        if (!got) return std::string(code_name(got.code())) + " " + got.error().detail;
        contributors = got->contributors();
        if (std::string w = wrong_sum(*got, out[k], round * kOps + k + 1); !w.empty()) return w;
      }
      if (over) return {};
    }
    return rank == 2 ? "it did not die" : contributors == 2 ? "" : "nobody died";
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

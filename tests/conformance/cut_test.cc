// Calls that the runtime cuts: pieces with a number, a commit and contributors of their own, and what a failure leaves.
#include <catch2/catch.hpp>

#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

constexpr std::size_t kCount = 26'000, kPiece = 5'000, kPieces = 6;  // the last one is shorter

OpOptions cut(std::size_t elements = kPiece) {
  OpOptions options;
  options.cut_bytes = elements * 8;
  return options;
}

MemberId id(int rank) { return {static_cast<std::uint32_t>(rank), 0}; }

// Empty, or what is wrong with the range of a piece: the sum of its own contributors.
std::string wrong_piece(const OutcomePiece& piece, const std::vector<std::uint64_t>& out, OpId payload) {
  for (std::size_t i = piece.at / 8; i < (piece.at + piece.bytes) / 8; ++i) {
    std::uint64_t want = 0;
    for (const MemberId& m : piece.view->members) want += coefficient(payload, i) << (4 * m.replica);
    if (out[i] != want) return "element " + std::to_string(i);
  }
  return "";
}

}  // namespace

TEST_CASE("a cut call gives what the whole one gives, as ops with numbers of their own and one step") {
  const std::string transport = GENERATE(from_range(transports()));
  const bool in_flight = GENERATE(false, true);
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    OpId next = 1;
    for (OpId call = 1; call <= 4; ++call) {
      std::vector<std::uint64_t> in(kCount), out(kCount, kPoison);
      fill(in, rank, call);
      if (call == 2) out = in;  // in place
      const void* from = call == 2 ? out.data() : in.data();
      const auto run = [&]() -> Result<Outcome> {
        if (call == 3 && in_flight)
          return group.reduce_async(from, out.data(), kCount, DataType::kU64, ReduceOp::kSum, id(1), cut()).wait();
        if (call == 3) return group.reduce(from, out.data(), kCount, DataType::kU64, ReduceOp::kSum, id(1), cut());
        if (in_flight)
          return group.all_reduce_async(from, out.data(), kCount, DataType::kU64, ReduceOp::kSum, cut()).wait();
        return group.all_reduce(from, out.data(), kCount, DataType::kU64, ReduceOp::kSum, cut());
      };
      const Result<Outcome> got = run();
      if (!got) return code_name(got.code()) + (": " + got.error().detail);
      if (got->pieces.size() != kPieces) return std::to_string(got->pieces.size()) + " pieces";
      for (const OutcomePiece& piece : got->pieces) {
        if (piece.op != next++) return "a piece has op number " + std::to_string(piece.op);
        if (call == 3 && rank != 1) continue;
        if (const std::string bad = wrong_piece(piece, out, call); !bad.empty()) return bad;
      }
      if (got->op != next - 1) return "the outcome is not of the last piece";
      if (group.steps() != call) return "step " + std::to_string(group.steps());
      if (call == 3 && rank != 1 && !untouched(out)) return "a reduce wrote where no root is";
      std::vector<std::uint64_t> shared(kCount, kPoison);
      if (rank == 2) fill(shared, 2, call);
      if (call == 4 && !group.broadcast(shared.data(), kCount, DataType::kU64, id(2), cut())) return "broadcast";
      for (std::size_t i = 0; call == 4 && i < kCount; ++i)
        if (shared[i] != coefficient(call, i) << 8) return "broadcast: element " + std::to_string(i);
    }
    std::uint64_t two[2] = {}, six[6];
    if (group.all_gather(two, six, 2, DataType::kU64, cut(1)).code() != Code::kInvalid) return "a cut gather was accepted";
    if (group.barrier({.cut_bytes = 1}).code() != Code::kOk) return "a barrier has nothing to cut";
    return "";
  });
  CHECK(wrong == std::vector<std::string>(3));
}

TEST_CASE("where a member dies between two pieces the later ones are of who is left, and all survivors see the same") {
  const std::string transport = GENERATE(from_range(transports()));
  const bool in_flight = GENERATE(false, true);
  World world(transport, 3, [](int rank, Options& options) {
    if (rank == 2) options.failpoints = "after_commit#3=call";
  });
  REQUIRE(world.start() == "");
  struct End {
    std::string wrong;
    std::vector<std::size_t> contributors;
    std::vector<std::uint64_t> out;
  };
  const auto ends = World::each(world.ranks(), [&](int rank) {
    std::vector<std::uint64_t> in(kCount);
    End end;
    end.out.assign(kCount, kPoison);
    fill(in, rank, 1);
    Group& group = world.at(rank);
    const Result<Outcome> got =
        in_flight ? group.all_reduce_async(in.data(), end.out.data(), kCount, DataType::kU64, ReduceOp::kSum, cut()).wait()
                  : group.all_reduce(in.data(), end.out.data(), kCount, DataType::kU64, ReduceOp::kSum, cut());
    if (!got) return end.wrong = code_name(got.code()), end;
    for (const OutcomePiece& piece : got->pieces) {
      end.contributors.push_back(piece.view->size());
      end.wrong += wrong_piece(piece, end.out, 1);
    }
    return end;
  });
  for (int rank : {0, 1}) {
    CHECK(ends[static_cast<std::size_t>(rank)].wrong == "");
    CHECK(ends[static_cast<std::size_t>(rank)].contributors == ends[0].contributors);
    CHECK(ends[static_cast<std::size_t>(rank)].out == ends[0].out);
  }
  REQUIRE(ends[0].contributors.size() == kPieces);
  CHECK(ends[0].contributors[2] == 3);
  CHECK(ends[0].contributors.back() == 2);
}

TEST_CASE("a cut broadcast whose root dies leaves committed pieces before, untouched ranges behind, and the group in step") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3, [](int rank, Options& options) {
    if (rank == 2) options.failpoints = "after_commit#3=call";
  });
  REQUIRE(world.start() == "");
  std::vector<std::vector<std::uint64_t>> outs(3, std::vector<std::uint64_t>(kCount, kPoison));
  fill(outs[2], 2, 1);
  const auto ends = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    std::uint64_t* const out = outs[static_cast<std::size_t>(rank)].data();
    // Who waits for all pieces has submitted them before the first fails: the others go on through all of them too.
    const Result<Outcome> got = rank == 1 ? group.broadcast_async(out, kCount, DataType::kU64, id(2), cut()).wait()
                                          : group.broadcast(out, kCount, DataType::kU64, id(2), cut());
    if (rank == 2) return "";
    if (got.code() != Code::kViewChanged) return code_name(got.code());
    if (const Seen seen = one_op(group, rank, kPieces + 1); seen.code != Code::kOk || !seen.wrong.empty())
      return std::string("afterwards: ") + code_name(seen.code) + seen.wrong;
    return got.error().detail;
  });
  CHECK(ends[0] == ends[1]);
  CHECK(ends[0].find("; committed: ") != std::string::npos);
  CHECK(outs[0] == outs[1]);
  std::size_t whole = 0;
  for (std::size_t at = 0; at < kCount; at += kPiece) {
    const std::size_t end = std::min(at + kPiece, kCount);
    const bool written = outs[0][at] != kPoison;
    if (written) CHECK(whole == at / kPiece);  // committed ones come first
    for (std::size_t i = at; i < end; ++i)
      if (outs[0][i] != (written ? coefficient(1, i) << 8 : kPoison)) FAIL_CHECK("element " << i);
    whole += written ? 1 : 0;
  }
  CHECK(whole >= 3);
  CHECK(whole < kPieces);
}

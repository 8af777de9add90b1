// Pre-multiplied sums: each member's input times a scalar of its own, in every collective that reduces.
#include <catch2/catch.hpp>
#include <cstring>

#include "kernels/kernels.h"
#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"
#include "tests/kernels/inputs.h"

using namespace regroup;
using namespace regroup::conformance;
using regroup::testing::Buffer;

TEST_CASE("a pre-multiplied sum scales each member's input by its own scalar and leaves the input alone") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    OpId op = 0;
    for (const std::size_t count : {0u, 1u, 9u, 3001u, 20'001u}) {
      ++op;
      std::vector<float> in(count), out(count, -1.0f);
      for (std::size_t i = 0; i < count; ++i)
        in[i] = static_cast<float>(coefficient(op, i) * static_cast<unsigned>(1 + rank));
      const std::vector<float> kept = in;
      const float scalar = static_cast<float>(2 + rank);
      const Result<Outcome> got = world.at(rank).all_reduce(in.data(), out.data(), count, DataType::kF32,
                                                            ReduceOp::kSum, {.premultiply = &scalar});
      if (!got) return code_name(got.code());
      if (in != kept) return "the input was changed";
      for (std::size_t i = 0; i < count; ++i)
        if (out[i] != static_cast<float>(coefficient(op, i) * (1 * 2 + 2 * 3 + 3 * 4)))
          return "wrong sum at " + std::to_string(i);
    }
    const float one = 1;
    float x = 1;
    if (world.at(rank).all_reduce(&x, &x, 1, DataType::kF32, ReduceOp::kMax, {.premultiply = &one}).code() !=
        Code::kInvalid)
      return "a pre-multiplied maximum was accepted";
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("a pre-multiplied sum of every type has the reference's bits in every collective that reduces") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3, [](int, Options& options) { options.small_bytes = 4096; });
  REQUIRE(world.start() == "");
  const auto flavour = in_member_order(transport) ? testing::Flavour::kSimilar : testing::Flavour::kSmallIntegers;
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    const auto self = static_cast<std::size_t>(rank);
    for (int t = 0; t < kDataTypeCount; ++t)
      for (const std::size_t block : {1u, 333u, 2049u}) {
        const auto type = static_cast<DataType>(t);
        const std::size_t size = size_of(type);
        const auto inputs = testing::make_inputs(type, flavour, block * 3, 3, block + static_cast<std::size_t>(t));
        const auto factors = testing::make_inputs(type, testing::Flavour::kSmallIntegers, 1, 3, block);
        std::vector<Buffer> scaled = inputs;
        for (std::size_t m = 0; m < 3; ++m)
          kernels::scale(type, scaled[m].data(), inputs[m].data(), factors[m].data(), block * 3);
        const Buffer want = testing::reference_reduce(type, ReduceOp::kSum, scaled);
        const OpOptions options{.premultiply = factors[self].data()};
        const std::string what = std::string(name_of(type)) + " x" + std::to_string(block) + ": ";
        const std::uint32_t root = static_cast<std::uint32_t>(block % 3);
        const std::vector<std::size_t> counts = {block, 0, 2 * block};
        const std::size_t at[] = {0, block, block};
        Buffer in = inputs[self], all(3 * block * size, 0xa5), one = all, part(block * size, 0xa5), some = all;
        const auto bad = [&](const char* name, const Result<Outcome>& got, const Buffer& out, std::size_t from,
                             std::size_t bytes) -> std::string {
          if (!got) return what + name + " " + code_name(got.code()) + " " + got.error().detail;
          if (std::memcmp(out.data(), want.data() + from, bytes) != 0) return what + name;
          return in == inputs[self] ? "" : what + name + " changed its input";
        };
        std::string w =
            bad("all-reduce", group.all_reduce(in.data(), all.data(), 3 * block, type, ReduceOp::kSum, options), all, 0,
                all.size());
        if (!w.empty()) return w;
        const auto reduced = group.reduce(in.data(), one.data(), 3 * block, type, ReduceOp::kSum, {root, 0}, options);
        w = bad("reduce", reduced, one, 0, root == self ? one.size() : 0);
        if (!w.empty()) return w;
        w = bad("reduce-scatter", group.reduce_scatter(in.data(), part.data(), block, type, ReduceOp::kSum, options),
                part, self * part.size(), part.size());
        if (!w.empty()) return w;
        w = bad("reduce-scatter-v",
                group.reduce_scatter_v(in.data(), some.data(), counts, type, ReduceOp::kSum, options), some,
                at[self] * size, counts[self] * size);
        if (!w.empty()) return w;
        const auto placed = group.all_reduce(in.data(), in.data(), 3 * block, type, ReduceOp::kSum, options);
        if (!placed) return what + code_name(placed.code());
        if (in != want) return what + "all-reduce in place";
      }
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("a pre-multiplied sum that one member does not scale fails at everybody and touches nothing") {
  const std::string transport = GENERATE(from_range(transports()));
  World world(transport, 3);
  REQUIRE(world.start() == "");
  const auto wrong = World::each(world.ranks(), [&](int rank) -> std::string {
    const std::int32_t in = 5, scalar = 2;
    std::int32_t out = -7;
    OpOptions options;
    if (rank != 1) options.premultiply = &scalar;
    const auto got = world.at(rank).all_reduce(&in, &out, 1, DataType::kI32, ReduceOp::kSum, options);
    if (got.code() != Code::kMismatch) return code_name(got.code());
    return out == -7 ? "" : "the output was touched";
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

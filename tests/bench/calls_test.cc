// How a call is cut into pieces.
#include "bench/calls.h"

#include <catch2/catch.hpp>

using namespace regroup;
using namespace regroup::bench;

namespace {

std::vector<Call> pieces(std::size_t count, DataType type, std::size_t cut_bytes, char* in, char* out) {
  CallMode mode;
  mode.cut_bytes = cut_bytes;
  Call call;
  call.in = in;
  call.out = out;
  call.count = count;
  call.type = type;
  return Calls(*find_collective("all_reduce"), mode).pieces_of(call);
}

}  // namespace

TEST_CASE("pieces cover the buffers once, the last one is the rest") {
  char in[64], out[64];
  const auto all = pieces(10, DataType::kF32, 16, in, out);
  REQUIRE(all.size() == 3);
  CHECK(all[0].count == 4);
  CHECK(all[1].count == 4);
  CHECK(all[2].count == 2);
  CHECK(all[2].in == in + 32);
  CHECK(all[2].out == out + 32);
}

TEST_CASE("a piece has whole elements, at least one, and nothing is one piece") {
  char in[64], out[64];
  CHECK(pieces(4, DataType::kF64, 17, in, out).size() == 2);
  CHECK(pieces(4, DataType::kF64, 3, in, out).size() == 4);
  CHECK(pieces(0, DataType::kF32, 16, in, out).size() == 1);
  CHECK(pieces(4, DataType::kF32, 1 << 20, in, out).size() == 1);
}

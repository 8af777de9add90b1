// Every collective under one call, with payloads that vary by op and member and a check of every byte around it.
//
// Input and output lie in one arena (apart, or in place in the field's form), at odd addresses if asked. After a
// success the whole arena must be what the definition of the op says, after a failure what it was before (G8). The
// definition here shares no code with runtime/algo.
#pragma once

#include <string>
#include <vector>

#include "runtime/algo/op.h"
#include "tests/conformance/payload.h"

namespace regroup::conformance {

struct Call {
  OpKind kind = OpKind::kAllReduce;
  std::size_t count = 100;  // elements of a block; of the v forms: blocks have 0 to twice that
  int root = 0;
  bool in_place = false;
  bool registered = false;
  bool output_scratch = false;
  std::size_t skew = 0;  // bytes past an aligned address
};

// All kinds but the barrier.
const std::vector<OpKind>& kinds();
// One blocking op. The payload is numbered by `op`. Seen::digest is of the output.
Seen run_call(Group& group, int rank, OpId op, const Call& call);
// Empty, or how survivors' histories differ in what is the same at all: code, epoch, contributors; or a wrong byte.
// `failures`: kViewChanged may be among the codes.
std::string not_uniform(const std::vector<History>& histories, bool failures);

}  // namespace regroup::conformance

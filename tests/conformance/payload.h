// Symbolic payloads and what a member saw of a run of ops. Pure values: no Catch, any thread.
//
// Member r gives coefficient(op, i) * 16^r as element i of an op, in a u64: the hexadecimal digits of a result are the
// contributors, each with the coefficient of this very op. Missing, double, stale and foreign contributions all show.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "regroup/group.h"

namespace regroup::conformance {

inline constexpr std::uint64_t kPoison = 0xdead'beef'dead'beef;

std::uint64_t coefficient(OpId op, std::size_t i);  // 1 .. 15
void fill(std::vector<std::uint64_t>& input, int rank, OpId op);
// Empty, or the first element that is not the sum of exactly the outcome's contributors.
std::string wrong_sum(const Outcome& outcome, const std::vector<std::uint64_t>& out, OpId op);
bool untouched(const std::vector<std::uint64_t>& out);  // still poisoned everywhere

// One op as one member saw it.
struct Seen {
  Code code = Code::kOk;
  std::string detail;  // of an error
  std::string wrong;   // of a result; empty: right
  Epoch epoch = 0;
  std::uint32_t attempts = 0;
  std::vector<std::uint32_t> contributors;  // replica ids
  std::uint64_t digest = 0;
};
using History = std::vector<Seen>;
inline Seen failed(const Status& status) {
  Seen seen;
  seen.code = status.code();
  if (!status) seen.detail = status.error().detail;
  return seen;
}

// How a run is done. Odd ops are in place.
struct Run {
  std::size_t count = 100;  // elements
  OpId first = 1;           // numbers the payloads; the group's op number must advance with it
  std::size_t ops = 10;
  std::size_t in_flight = 1;  // submitted before the oldest is waited for
};
// Ends early at the first error that ends the group (kClosed, kUnavailable), which is recorded.
History run_ops(Group& group, int rank, const Run& run);
// The same payload and checks for one blocking op.
Seen one_op(Group& group, int rank, OpId op, std::size_t count = 100);
std::vector<std::uint32_t> ids_of(const ViewInfo& view);

// Empty, or the first way in which the histories of members that live differ or are wrong: every op committed, right,
// same bits, same contributors, same epoch, contributors never growing.
std::string disagreement(const std::vector<History>& histories);

}  // namespace regroup::conformance

// What -o names: an operation of the library, or nccl-tests' `mulsum`, a sum of inputs that each rank has multiplied by
// a scalar of its own. A value.
#pragma once

#include <cstdint>
#include <vector>

#include "base/dtype.h"

namespace regroup::bench {

struct Reduction {
  ReduceOp op = ReduceOp::kSum;
  bool scaled = false;
  constexpr Reduction(ReduceOp of = ReduceOp::kSum, bool is_scaled = false) : op(of), scaled(is_scaled) {}
  bool operator==(const Reduction&) const = default;
};

constexpr const char* name_of(const Reduction& reduction) {
  return reduction.scaled ? "mulsum" : regroup::name_of(reduction.op);
}

// In the order of -o all.
inline std::vector<Reduction> all_reductions() {
  std::vector<Reduction> out;
  for (int i = 0; i < kReduceOpCount; ++i) out.emplace_back(static_cast<ReduceOp>(i));
  out.emplace_back(ReduceOp::kSum, true);
  return out;
}

// What a rank's input is multiplied by: neighbours have different ones.
constexpr std::int64_t kLargestScalar = 3;
constexpr std::int64_t scalar_of(std::uint32_t rank) { return 1 + rank % kLargestScalar; }

}  // namespace regroup::bench

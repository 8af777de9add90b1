// What the members of a chaos run do at a step, and what must come of it: an all-reduce whose type, operation, size,
// place and way (registered or private memory, in place or not, alone or several in flight) the seed and the step number
// draw. Values are small integers, exact in any order; all elements differ from step to step, so that no shard of an
// earlier op passes for this one, and repeat with a prime period, so that none passes in a wrong place. Every fourth op is
// symbolic: four bits per contributor show how often its input (1 to 5, the step's own) is in the sum.
//
// Pure but for the buffers it is given. One thread per object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/dtype.h"

namespace regroup::chaos {

struct StepOp {
  DataType type = DataType::kF32;
  ReduceOp op = ReduceOp::kSum;
  bool symbolic = false;
  std::size_t count = 0;
  std::size_t offset = 0;  // elements by which the buffers are unaligned
  bool registered = false;
  bool in_place = false;
  std::uint32_t in_flight = 1;  // ops begun together with this one, when it is the first
};

class Program {
 public:
  Program(std::uint64_t seed, std::uint32_t ranks, std::size_t max_bytes, std::uint32_t depth)
      : seed_(seed), ranks_(ranks), max_bytes_(max_bytes), depth_(depth) {}

  [[nodiscard]] StepOp at(std::uint64_t step) const;
  // Bytes that a buffer needs for any step.
  [[nodiscard]] std::size_t buffer_bytes() const { return max_bytes_ + 64; }
  void fill(const StepOp& op, std::uint64_t step, std::uint32_t rank, void* in);
  // Elements of `out` that differ from the fold over the contributors (bit r: rank r).
  std::uint64_t count_wrong(const StepOp& op, std::uint64_t step, std::uint64_t contributors, const void* out);
  // Elements of an input that are not as fill() made them (G8).
  std::uint64_t count_changed(const StepOp& op, std::uint64_t step, std::uint32_t rank, const void* in);

 private:
  static constexpr std::size_t kPeriod = 1021;  // prime, elements
  [[nodiscard]] std::int64_t value(const StepOp& op, std::uint64_t step, std::uint32_t rank, std::size_t i) const;
  [[nodiscard]] std::uint64_t differing(const StepOp& op, const void* got) const;  // from pattern_, repeated

  std::uint64_t seed_;
  std::uint32_t ranks_;
  std::size_t max_bytes_;
  std::uint32_t depth_;
  std::vector<std::byte> pattern_;  // kPeriod elements of one op
};

}  // namespace regroup::chaos

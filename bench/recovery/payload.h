// Inputs and expected results of a loop of all-reduces (float, sum) that is checked bit for bit at every op, cheaply.
// Values are small integers, exact in any order. They come in kVariants sets by step number, repeat with a prime period
// (so a shard in the wrong place shows), and every 1024th element is different at every step: no shard of an earlier
// op, which is what stale scratch holds, passes for this one.
//
// Ownership: the caller's buffers; the object keeps patterns of some 16 KiB. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace regroup::bench {

class Payload {
 public:
  static constexpr std::size_t kVariants = 3;  // no divisor of a window of slots

  Payload(std::uint64_t seed, std::uint32_t ranks) : seed_(seed), ranks_(ranks) {}
  static std::size_t variant_of(std::uint64_t step) { return step % kVariants; }

  // The whole input of `rank` for a variant, without what is the step's own; once per buffer.
  void fill(float* in, std::size_t count, std::size_t variant, std::uint32_t rank) const;
  // The step's own elements; into the buffer of its variant, before the op.
  void stamp(float* in, std::size_t count, std::uint64_t step, std::uint32_t rank) const;
  // Elements of `out` that differ from the sum over the contributors (bit r: rank r).
  std::uint64_t count_wrong(const float* out, std::size_t count, std::uint64_t step, std::uint64_t contributors);

 private:
  static constexpr std::size_t kPeriod = 4099;  // prime
  static constexpr std::size_t kBlock = 1024;   // elements; the first of each carries the step
  static constexpr std::uint64_t kMaxSummands = 32;

  [[nodiscard]] float mark(std::uint64_t step, std::size_t block, std::uint32_t rank) const;
  // Expected sums of all variants, kBlock longer than the period so that a block never wraps.
  void expect(std::uint64_t contributors);

  std::uint64_t seed_;
  std::uint32_t ranks_;
  std::uint64_t expected_for_ = 0;
  std::vector<float> expected_[kVariants];
};

}  // namespace regroup::bench

#include "bench/recovery/payload.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "bench/data.h"

namespace regroup::bench {

void Payload::fill(float* in, std::size_t count, std::size_t variant, std::uint32_t rank) const {
  const Pattern pattern{DataType::kF32, ReduceOp::kSum, seed_ * kVariants + variant, ranks_};
  regroup::bench::fill(pattern, rank, in, std::min(count, kPeriod));
  for (std::size_t done = kPeriod; done < count; done += kPeriod) {
    std::memcpy(in + done, in, std::min(kPeriod, count - done) * sizeof(float));
  }
}

float Payload::mark(std::uint64_t step, std::size_t block, std::uint32_t rank) const {
  std::uint64_t h = (step + seed_) * 0x9e3779b97f4a7c15ull ^ (block + 1) * 0xbf58476d1ce4e5b9ull;
  h = (h ^ (h >> 31)) * (2ull * rank + 0x94d049bb133111ebull);
  return static_cast<float>((h >> 40) % ((1u << 22) / kMaxSummands));
}

void Payload::stamp(float* in, std::size_t count, std::uint64_t step, std::uint32_t rank) const {
  for (std::size_t block = 0; block * kBlock < count; ++block) in[block * kBlock] = mark(step, block, rank);
}

void Payload::expect(std::uint64_t contributors) {
  if (contributors == expected_for_) return;
  expected_for_ = contributors;
  std::vector<float> input(kPeriod);
  for (std::size_t variant = 0; variant < kVariants; ++variant) {
    std::vector<float>& sum = expected_[variant];
    sum.assign(kPeriod + kBlock, 0.0f);
    for (std::uint32_t rank = 0; rank < 64; ++rank) {
      if ((contributors >> rank & 1) == 0) continue;
      fill(input.data(), kPeriod, variant, rank);
      for (std::size_t i = 0; i < kPeriod; ++i) sum[i] += input[i];
    }
    std::memcpy(sum.data() + kPeriod, sum.data(), kBlock * sizeof(float));
  }
}

std::uint64_t Payload::count_wrong(const float* out, std::size_t count, std::uint64_t step,
                                   std::uint64_t contributors) {
  if (contributors == 0) return count;
  expect(contributors);
  const float* sums = expected_[variant_of(step)].data();
  std::uint64_t wrong = 0;
  for (std::size_t block = 0; block * kBlock < count; ++block) {
    const std::size_t begin = block * kBlock, n = std::min(kBlock, count - begin);
    float head = 0;
    for (std::uint64_t left = contributors; left != 0; left &= left - 1) {
      head += mark(step, block, static_cast<std::uint32_t>(std::countr_zero(left)));
    }
    wrong += std::memcmp(&head, out + begin, sizeof head) != 0;
    const float* want = sums + begin % kPeriod;
    if (std::memcmp(want + 1, out + begin + 1, (n - 1) * sizeof(float)) == 0) continue;
    for (std::size_t i = 1; i < n; ++i) wrong += std::memcmp(want + i, out + begin + i, sizeof(float)) != 0;
  }
  return wrong;
}

}  // namespace regroup::bench

#include "tools/chaos/program.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/rng.h"
#include "tools/chaos/exact.h"

namespace regroup::chaos {
namespace {

constexpr std::int64_t kAvgUnit = 720'720;  // divisible by 1 to 16: an average of its multiples is exact

std::uint64_t mix(std::uint64_t a, std::uint64_t b) { return Rng(a * 0x9e3779b97f4a7c15ull ^ b).next(); }

void put(DataType type, std::int64_t value, std::byte* to) {
  with_type(type, [&]<typename T>() {
    const T element = encode<T>(value);
    std::memcpy(to, &element, sizeof element);
  });
}

// Sums of 16 of them are exact.
std::int64_t span_of(DataType type) {
  switch (type) {
    case DataType::kI8:
    case DataType::kU8: return 8;
    case DataType::kBF16: return 16;
    case DataType::kF16: return 64;
    default: return 1024;
  }
}

bool can_average(DataType type) { return size_of(type) >= 4; }

}  // namespace

StepOp Program::at(std::uint64_t step) const {
  Rng rng(mix(seed_, step));
  StepOp op;
  op.symbolic = rng.below(4) == 0;
  op.type = op.symbolic ? DataType::kU64 : static_cast<DataType>(rng.below(kDataTypeCount));
  op.op = op.symbolic ? ReduceOp::kSum : static_cast<ReduceOp>(rng.below(kReduceOpCount));
  if (op.op == ReduceOp::kAvg && !can_average(op.type)) op.op = ReduceOp::kSum;
  op.offset = rng.below(4) == 0 ? rng.below(4) : 0;
  // Sizes by powers of two, each as often; a few of 0 elements.
  const std::uint64_t most = std::max<std::uint64_t>(max_bytes_ / size_of(op.type), 1);
  const std::uint64_t limit = std::uint64_t{1} << rng.below(static_cast<std::uint64_t>(std::bit_width(most)));
  op.count = rng.below(64) == 0 ? 0 : std::min(limit + rng.below(limit), most);
  op.registered = rng.below(2) == 0;
  op.in_place = rng.below(3) == 0;
  op.in_flight = rng.below(3) == 0 ? 1 + static_cast<std::uint32_t>(rng.below(depth_)) : 1;
  return op;
}

std::int64_t Program::value(const StepOp& op, std::uint64_t step, std::uint32_t rank, std::size_t i) const {
  if (op.symbolic) return static_cast<std::int64_t>((1 + mix(seed_, ~step) % 5) << (4 * rank));
  const std::uint64_t h = mix(mix(seed_ + step, i), rank);
  if (op.op == ReduceOp::kProd) return rank < 4 ? 1 + static_cast<std::int64_t>(h % 3) : 1;
  if (op.op == ReduceOp::kAvg) return static_cast<std::int64_t>(h % 16) * kAvgUnit;
  return static_cast<std::int64_t>(h % static_cast<std::uint64_t>(span_of(op.type)));
}

void Program::fill(const StepOp& op, std::uint64_t step, std::uint32_t rank, void* in) {
  const std::size_t size = size_of(op.type), period = std::min(op.count, kPeriod);
  auto* to = static_cast<std::byte*>(in);
  for (std::size_t i = 0; i < period; ++i) put(op.type, value(op, step, rank, i), to + i * size);
  for (std::size_t done = kPeriod; done < op.count; done += kPeriod)
    std::memcpy(to + done * size, to, std::min(kPeriod, op.count - done) * size);
}

std::uint64_t Program::differing(const StepOp& op, const void* got) const {
  const std::size_t size = size_of(op.type);
  const auto* have = static_cast<const std::byte*>(got);
  std::uint64_t wrong = 0;
  for (std::size_t done = 0; done < op.count; done += kPeriod) {
    const std::size_t n = std::min(kPeriod, op.count - done);
    const std::byte* part = have + done * size;
    if (std::memcmp(part, pattern_.data(), n * size) == 0) continue;
    for (std::size_t i = 0; i < n; ++i) wrong += std::memcmp(part + i * size, pattern_.data() + i * size, size) != 0;
  }
  return wrong;
}

std::uint64_t Program::count_wrong(const StepOp& op, std::uint64_t step, std::uint64_t contributors, const void* out) {
  if (contributors == 0) return std::max<std::uint64_t>(op.count, 1);
  const std::size_t size = size_of(op.type);
  pattern_.assign(kPeriod * size, std::byte{0});
  for (std::size_t i = 0; i < std::min(op.count, kPeriod); ++i) {
    std::uint64_t left = contributors;
    std::int64_t result = value(op, step, static_cast<std::uint32_t>(std::countr_zero(left)), i);
    for (left &= left - 1; left != 0; left &= left - 1)
      result = fold(op.op, result, value(op, step, static_cast<std::uint32_t>(std::countr_zero(left)), i));
    if (op.op == ReduceOp::kAvg) result /= std::popcount(contributors);
    put(op.type, result, pattern_.data() + i * size);
  }
  return differing(op, out);
}

std::uint64_t Program::count_changed(const StepOp& op, std::uint64_t step, std::uint32_t rank, const void* in) {
  const std::size_t size = size_of(op.type);
  pattern_.assign(kPeriod * size, std::byte{0});
  for (std::size_t i = 0; i < std::min(op.count, kPeriod); ++i)
    put(op.type, value(op, step, rank, i), pattern_.data() + i * size);
  return differing(op, in);
}

}  // namespace regroup::chaos

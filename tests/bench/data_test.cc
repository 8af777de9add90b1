// The check of data must see every way in which a result can be wrong.
#include "bench/data.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

using namespace regroup;
using namespace regroup::bench;

namespace {

constexpr std::size_t kCount = 4099;

template <typename T>
std::vector<T> input(const Pattern& pattern, std::uint32_t rank, std::size_t count = kCount) {
  std::vector<T> out(count);
  fill(pattern, rank, out.data(), count);
  return out;
}

std::vector<std::uint32_t> first(std::uint32_t n) {
  std::vector<std::uint32_t> out;
  for (std::uint32_t r = 0; r < n; ++r) out.push_back(r);
  return out;
}

std::vector<float> sum_of(const Pattern& pattern, const std::vector<std::uint32_t>& ranks) {
  std::vector<float> out(kCount);
  for (std::uint32_t r : ranks) {
    const auto in = input<float>(pattern, r);
    for (std::size_t i = 0; i < kCount; ++i) out[i] += in[i];
  }
  return out;
}

// The fold in the type itself, as the runtime does it.
template <typename T>
std::vector<T> folded(const Pattern& pattern, std::uint32_t ranks) {
  const auto given = [&](std::uint32_t rank) {  // a pre-multiplied sum scales it: by 1, 2, 3, 1, ..
    auto in = input<T>(pattern, rank);
    for (T& x : in) x = static_cast<T>(x * static_cast<T>(pattern.op.scaled ? 1 + rank % 3 : 1));
    return in;
  };
  auto out = given(0);
  for (std::uint32_t r = 1; r < ranks; ++r) {
    const auto in = given(r);
    for (std::size_t i = 0; i < kCount; ++i) {
      switch (pattern.op.op) {
        case ReduceOp::kProd: out[i] = static_cast<T>(out[i] * in[i]); break;
        case ReduceOp::kMin: out[i] = std::min(out[i], in[i]); break;
        case ReduceOp::kMax: out[i] = std::max(out[i], in[i]); break;
        default: out[i] = static_cast<T>(out[i] + in[i]);
      }
    }
  }
  if (pattern.op == ReduceOp::kAvg) {
    for (T& x : out) x = static_cast<T>(x / static_cast<T>(ranks));
  }
  return out;
}

template <typename T>
void check_type(DataType type) {
  for (const Reduction& op : all_reductions()) {
    for (std::uint32_t ranks : {1u, 2u, 3u, 4u, 8u}) {
      const Pattern pattern{type, op, 77, ranks};
      INFO(name_of(type) << " " << name_of(pattern.op) << " " << ranks);
      auto result = folded<T>(pattern, ranks);
      CHECK(count_wrong(pattern, first(ranks), result.data(), kCount) == 0);
      std::memset(&result[kCount - 1], 0xa5, sizeof(T));
      CHECK(count_wrong(pattern, first(ranks), result.data(), kCount) == 1);
    }
  }
}

}  // namespace

TEST_CASE("a right result of every type and operation is right, and one other bit is wrong") {
  check_type<double>(DataType::kF64);
  check_type<float>(DataType::kF32);
  check_type<std::int8_t>(DataType::kI8);
  check_type<std::uint8_t>(DataType::kU8);
  check_type<std::int32_t>(DataType::kI32);
  check_type<std::uint32_t>(DataType::kU32);
  check_type<std::int64_t>(DataType::kI64);
  check_type<std::uint64_t>(DataType::kU64);
}

TEST_CASE("sixteen-bit floats are exact integers: one rank's input is its own average") {
  for (DataType type : {DataType::kF16, DataType::kBF16}) {
    const Pattern pattern{type, ReduceOp::kSum, 5, 4};
    const auto in = input<std::uint16_t>(pattern, 2);
    CHECK(count_wrong(pattern, std::vector<std::uint32_t>{2}, in.data(), kCount) == 0);
    CHECK(count_wrong(pattern, std::vector<std::uint32_t>{1}, in.data(), kCount) > kCount / 2);
  }
}

TEST_CASE("sixteen-bit floats have their bits: 1, 3, 120 and 2000") {
  // Checked through one contributor whose values are known from the float pattern of the same bounds.
  const Pattern half{DataType::kF16, ReduceOp::kMax, 9, 2};
  const auto bits = input<std::uint16_t>(half, 0);
  std::size_t seen = 0;
  for (std::uint16_t h : bits) {
    const int exponent = (h >> 10) - 15, mantissa = h & 0x3ff;
    CHECK((h >> 15) == 0);
    if (h == 0) continue;
    CHECK(exponent <= 10);
    const int scaled = 1024 + mantissa;  // value = scaled * 2^(exponent-10): a whole number
    CHECK(scaled % (1 << (10 - exponent)) == 0);
    ++seen;
  }
  CHECK(seen > kCount / 2);
}

TEST_CASE("a missing, doubled or foreign contribution is wrong") {
  const Pattern pattern{DataType::kF32, ReduceOp::kSum, 1, 4};
  const auto all = first(4);
  CHECK(count_wrong(pattern, all, sum_of(pattern, all).data(), kCount) == 0);
  CHECK(count_wrong(pattern, all, sum_of(pattern, {0, 1, 3}).data(), kCount) > kCount * 9 / 10);
  CHECK(count_wrong(pattern, all, sum_of(pattern, {0, 1, 2, 2}).data(), kCount) > kCount * 9 / 10);
  CHECK(count_wrong(pattern, std::vector<std::uint32_t>{0, 1, 3}, sum_of(pattern, {0, 1, 3}).data(), kCount) == 0);
}

TEST_CASE("a pre-multiplied sum without the scalars, or with another rank's, is wrong") {
  const Pattern pattern{DataType::kF32, {ReduceOp::kSum, true}, 1, 4};
  const auto all = first(4);
  CHECK(count_wrong(pattern, all, folded<float>(pattern, 4).data(), kCount) == 0);
  CHECK(count_wrong(pattern, all, sum_of(pattern, all).data(), kCount) > kCount * 9 / 10);
  std::vector<float> swapped(kCount);
  for (std::uint32_t r : all) {
    const auto in = input<float>(pattern, r);
    for (std::size_t i = 0; i < kCount; ++i) swapped[i] += in[i] * static_cast<float>(3 - r % 3);
  }
  CHECK(count_wrong(pattern, all, swapped.data(), kCount) > kCount * 9 / 10);
  for (std::uint32_t rank : all) {
    float scalar = 0;
    std::memcpy(&scalar, scalar_element(DataType::kF32, rank).data(), sizeof scalar);
    CHECK(scalar == static_cast<float>(1 + rank % 3));
  }
}

TEST_CASE("a result of another iteration, a shifted one and poison are wrong") {
  const Pattern pattern{DataType::kF32, ReduceOp::kSum, 1, 4};
  Pattern next = pattern;
  next.seed = 2;
  const auto all = first(4);
  auto result = sum_of(next, all);
  CHECK(count_wrong(pattern, all, result.data(), kCount) > kCount * 9 / 10);
  result = sum_of(pattern, all);
  std::memmove(result.data(), result.data() + 1024, 4 * 1024);  // a shard in the wrong place
  CHECK(count_wrong(pattern, all, result.data(), kCount) > 900);
  poison(result.data(), kCount * 4);
  CHECK(count_wrong(pattern, all, result.data(), kCount) == kCount);
}

TEST_CASE("nobody's contribution is no result") {
  float x = 0;
  CHECK(count_wrong({}, {}, &x, 1) == 1);
}

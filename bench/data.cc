#include "bench/data.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace regroup::bench {
namespace {

constexpr unsigned char kPoison = 0xa5;

// What integer values become in memory. Only integers that the type holds exactly are asked for.
struct Half {
  std::uint16_t bits;
};
struct Bfloat16 {
  std::uint16_t bits;
};

template <typename T>
T encode(std::int64_t value) {
  return static_cast<T>(value);
}
template <>
Bfloat16 encode<Bfloat16>(std::int64_t value) {
  return {static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(static_cast<float>(value)) >> 16)};
}
template <>
Half encode<Half>(std::int64_t value) {
  if (value == 0) return {0};
  const bool negative = value < 0;
  const auto magnitude = static_cast<std::uint32_t>(negative ? -value : value);
  const int exponent = 31 - std::countl_zero(magnitude);
  const std::uint32_t mantissa =
      (exponent <= 10 ? magnitude << (10 - exponent) : magnitude >> (exponent - 10)) & 0x3ffu;
  return {static_cast<std::uint16_t>((negative ? 0x8000u : 0u) | static_cast<std::uint32_t>(exponent + 15) << 10 |
                                     mantissa)};
}

bool is_floating(DataType type) { return static_cast<int>(type) <= static_cast<int>(DataType::kBF16); }

// The largest result that every rounding in between leaves exact.
std::int64_t exact_limit(DataType type) {
  switch (type) {
    case DataType::kI8:
    case DataType::kU8:
    case DataType::kBF16: return 120;
    case DataType::kF16: return 2000;
    default: return 1 << 20;
  }
}

// The values of one pattern: element i of rank r.
class Values {
 public:
  explicit Values(const Pattern& p) : op_(p.op), ranks_(std::max(p.ranks, 1u)), salt_(p.seed * 0x9e3779b97f4a7c15ull) {
    const std::int64_t limit = exact_limit(p.type);
    std::int64_t span = limit / ranks_;
    if (op_ == ReduceOp::kMin || op_ == ReduceOp::kMax) span = limit;
    if (op_ == ReduceOp::kAvg && is_floating(p.type)) {
      unit_ = ranks_;  // sums divide by the number of contributors without a rest
      span /= ranks_;
    }
    span_ = static_cast<std::uint64_t>(std::max<std::int64_t>(span, 2));
  }

  // What all ranks' values of element i are made from.
  [[nodiscard]] std::uint64_t element(std::size_t i) const {
    std::uint64_t h = (i + salt_) * 0xbf58476d1ce4e5b9ull;
    h ^= h >> 29;
    return h;
  }
  [[nodiscard]] std::int64_t of(std::uint64_t element, std::uint32_t rank) const {
    if (op_ == ReduceOp::kProd) return factor(element, rank);
    const std::uint64_t h = (element * (2ull * rank + 0x94d049bb133111ebull)) >> 32;
    return static_cast<std::int64_t>((h * span_) >> 32) * unit_;
  }

 private:
  // Two ranks have a factor of 1 to 7, the others 1: products stay below 50.
  [[nodiscard]] std::int64_t factor(std::uint64_t h, std::uint32_t rank) const {
    std::int64_t value = 1;
    if ((h >> 8) % ranks_ == rank) value *= 1 + static_cast<std::int64_t>((h >> 24) % 7);
    if ((h >> 32) % ranks_ == rank) value *= 1 + static_cast<std::int64_t>((h >> 48) % 7);
    return value;
  }
  ReduceOp op_;
  std::uint32_t ranks_;
  std::uint64_t salt_;
  std::uint64_t span_ = 2;
  std::int64_t unit_ = 1;
};

std::int64_t fold(ReduceOp op, std::int64_t a, std::int64_t b) {
  switch (op) {
    case ReduceOp::kProd: return a * b;
    case ReduceOp::kMin: return std::min(a, b);
    case ReduceOp::kMax: return std::max(a, b);
    default: return a + b;
  }
}

template <typename T>
void fill_as(const Pattern& pattern, std::uint32_t rank, void* out, std::size_t count) {
  const Values values(pattern);
  T* to = static_cast<T*>(out);
  for (std::size_t i = 0; i < count; ++i) to[i] = encode<T>(values.of(values.element(i), rank));
}

template <typename T>
std::uint64_t wrong_as(const Pattern& pattern, std::span<const std::uint32_t> who, const void* got, std::size_t count,
                       std::size_t first) {
  const Values values(pattern);
  const T* have = static_cast<const T*>(got);
  std::uint64_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t element = values.element(first + i);
    std::int64_t result = values.of(element, who[0]);
    for (std::size_t k = 1; k < who.size(); ++k) result = fold(pattern.op, result, values.of(element, who[k]));
    if (pattern.op == ReduceOp::kAvg) result /= static_cast<std::int64_t>(who.size());
    const T want = encode<T>(result);
    if (std::memcmp(&want, have + i, sizeof(T)) != 0) ++wrong;
  }
  return wrong;
}

// Calls f.operator()<T>() with the memory type of `type`.
template <typename F>
auto with_type(DataType type, F f) {
  switch (type) {
    case DataType::kF64: return f.template operator()<double>();
    case DataType::kF32: return f.template operator()<float>();
    case DataType::kF16: return f.template operator()<Half>();
    case DataType::kBF16: return f.template operator()<Bfloat16>();
    case DataType::kI8: return f.template operator()<std::int8_t>();
    case DataType::kU8: return f.template operator()<std::uint8_t>();
    case DataType::kI32: return f.template operator()<std::int32_t>();
    case DataType::kU32: return f.template operator()<std::uint32_t>();
    case DataType::kI64: return f.template operator()<std::int64_t>();
    case DataType::kU64: break;
  }
  return f.template operator()<std::uint64_t>();
}

}  // namespace

void fill(const Pattern& pattern, std::uint32_t rank, void* out, std::size_t count) {
  with_type(pattern.type, [&]<typename T>() { fill_as<T>(pattern, rank, out, count); });
}

std::uint64_t count_wrong(const Pattern& pattern, std::span<const std::uint32_t> contributors, const void* got,
                          std::size_t count, std::size_t first) {
  if (contributors.empty()) return count;
  return with_type(pattern.type, [&]<typename T>() { return wrong_as<T>(pattern, contributors, got, count, first); });
}

void poison(void* memory, std::size_t bytes) {
  if (bytes > 0) std::memset(memory, kPoison, bytes);
}

std::uint64_t count_touched(const void* memory, std::size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(memory);
  return bytes - static_cast<std::uint64_t>(std::count(at, at + bytes, kPoison));
}

}  // namespace regroup::bench

#include "bench/data.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "tools/chaos/exact.h"

namespace regroup::bench {
namespace {

using chaos::encode;
using chaos::with_type;

constexpr unsigned char kPoison = 0xa5;

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
  explicit Values(const Pattern& p)
      : op_(p.op.op), scaled_(p.op.scaled), ranks_(std::max(p.ranks, 1u)), salt_(p.seed * 0x9e3779b97f4a7c15ull) {
    const std::int64_t limit = exact_limit(p.type);
    std::int64_t span = limit / ranks_;
    if (op_ == ReduceOp::kMin || op_ == ReduceOp::kMax) span = limit;
    if (op_ == ReduceOp::kAvg && is_floating(p.type)) {
      unit_ = ranks_;  // sums divide by the number of contributors without a rest
      span /= ranks_;
    }
    if (scaled_) span /= kLargestScalar;
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
  // What it adds to a fold.
  [[nodiscard]] std::int64_t given(std::uint64_t element, std::uint32_t rank) const {
    return of(element, rank) * (scaled_ ? scalar_of(rank) : 1);
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
  bool scaled_;
  std::uint32_t ranks_;
  std::uint64_t salt_;
  std::uint64_t span_ = 2;
  std::int64_t unit_ = 1;
};

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
    std::int64_t result = values.given(element, who[0]);
    for (std::size_t k = 1; k < who.size(); ++k)
      result = chaos::fold(pattern.op.op, result, values.given(element, who[k]));
    if (pattern.op == ReduceOp::kAvg) result /= static_cast<std::int64_t>(who.size());
    const T want = encode<T>(result);
    if (std::memcmp(&want, have + i, sizeof(T)) != 0) ++wrong;
  }
  return wrong;
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

std::array<std::byte, 8> scalar_element(DataType type, std::uint32_t rank) {
  std::array<std::byte, 8> out{};
  with_type(type, [&]<typename T>() {
    const T value = encode<T>(scalar_of(rank));
    std::memcpy(out.data(), &value, sizeof value);
  });
  return out;
}

void poison(void* memory, std::size_t bytes) {
  if (bytes > 0) std::memset(memory, kPoison, bytes);
}

std::uint64_t count_touched(const void* memory, std::size_t bytes) {
  const auto* at = static_cast<const unsigned char*>(memory);
  return bytes - static_cast<std::uint64_t>(std::count(at, at + bytes, kPoison));
}

}  // namespace regroup::bench

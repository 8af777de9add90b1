// scale() and divide(): every type against the definition, at odd addresses, in place, and nothing outside.
#include <catch2/catch.hpp>
#include <cstring>

#include "kernels/kernels.h"
#include "tests/kernels/inputs.h"

using namespace regroup;
using namespace regroup::testing;

namespace {

template <class T>
T load(const std::uint8_t* at) {
  T v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

template <class T>
bool is_product(const std::uint8_t* got, const std::uint8_t* a, const std::uint8_t* b) {
  const T want = static_cast<T>(load<T>(a) * load<T>(b));
  return std::memcmp(got, &want, sizeof want) == 0;
}

bool is_small(const SmallFloat& f, const std::uint8_t* got, const std::uint8_t* a, const std::uint8_t* b) {
  const double product = f.decode(load<std::uint16_t>(a)) * f.decode(load<std::uint16_t>(b));
  return load<std::uint16_t>(got) == f.encode(static_cast<float>(product));
}

bool right(DataType type, const std::uint8_t* got, const std::uint8_t* a, const std::uint8_t* b) {
  switch (type) {
    case DataType::kF64: return is_product<double>(got, a, b);
    case DataType::kF32: return is_product<float>(got, a, b);
    case DataType::kF16: return is_small(kHalf, got, a, b);
    case DataType::kBF16: return is_small(kBrain, got, a, b);
    case DataType::kI8:
    case DataType::kU8: return is_product<std::uint8_t>(got, a, b);
    case DataType::kI32:
    case DataType::kU32: return is_product<std::uint32_t>(got, a, b);
    case DataType::kI64:
    case DataType::kU64: return is_product<std::uint64_t>(got, a, b);
  }
  return false;
}

}  // namespace

TEST_CASE("scale multiplies every element by the factor, at any address and in place, and touches nothing else") {
  for (int t = 0; t < kDataTypeCount; ++t)
    for (const std::size_t count : {0u, 1u, 7u, 64u, 1001u})
      for (const std::size_t skew : {0u, 1u, 3u}) {
        const auto type = static_cast<DataType>(t);
        const std::size_t size = size_of(type), bytes = count * size;
        const auto inputs = make_inputs(type, Flavour::kSimilar, count + 1, 2, count + skew);
        const std::uint8_t* factor = inputs[1].data();
        Buffer out(bytes + 16, 0x5a), in(bytes + 16, 0x5a);
        if (bytes != 0) std::memcpy(in.data() + skew, inputs[0].data(), bytes);
        kernels::scale(type, out.data() + skew, in.data() + skew, factor, count);
        kernels::scale(type, in.data() + skew, in.data() + skew, factor, count);
        CAPTURE(name_of(type), count, skew);
        CHECK(out == in);
        bool all = true, outside = true;
        for (std::size_t i = 0; i < count; ++i)
          all = all && right(type, out.data() + skew + i * size, inputs[0].data() + i * size, factor);
        for (std::size_t i = 0; i < out.size(); ++i)
          if (i < skew || i >= skew + bytes) outside = outside && out[i] == 0x5a;
        CHECK(all);
        CHECK(outside);
      }
}

TEST_CASE("a sum divided by its number of sources is the average that one fold makes, of every type") {
  for (int t = 0; t < kDataTypeCount; ++t)
    for (const std::size_t k : {2u, 3u, 5u, 17u})  // one source is a copy
      for (const std::size_t skew : {0u, 1u}) {
        const auto type = static_cast<DataType>(t);
        // Partial sums of f16 and bf16 are rounded: small integers, which are exact, have the same bits.
        const bool small = type == DataType::kF16 || type == DataType::kBF16;
        const auto inputs = make_inputs(type, small ? Flavour::kSmallIntegers : Flavour::kCorners, 301, k, k + skew);
        std::vector<const void*> sources;
        for (const Buffer& b : inputs) sources.push_back(b.data());
        const std::size_t bytes = inputs[0].size();
        Buffer want(bytes + 1, 0x5a), got(bytes + 1, 0x5a);
        kernels::reduce(type, ReduceOp::kAvg, want.data() + skew, sources, 301);
        kernels::reduce(type, ReduceOp::kSum, got.data() + skew, sources, 301);
        kernels::divide(type, got.data() + skew, static_cast<std::uint32_t>(k), 301);
        CAPTURE(name_of(type), k, skew);
        CHECK(got == want);
      }
}

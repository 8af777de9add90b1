// Scale and divide: plain loops over unaligned elements, which the compiler turns into vector code.
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/host/half.h"
#include "kernels/kernels.h"

namespace regroup::kernels {
namespace {

// What most types' results look like when there is none: one NaN, as the folds make it.
template <class T>
T one_nan(T x) {
  return x == x ? x : std::numeric_limits<T>::quiet_NaN();
}

template <class T, class By, class Apply>
void each(void* dst, const void* src, By by, std::size_t count, Apply apply) {
  const auto* in = static_cast<const std::uint8_t*>(src);
  auto* out = static_cast<std::uint8_t*>(dst);
  for (std::size_t i = 0; i < count; ++i) {
    T x;
    std::memcpy(&x, in + i * sizeof x, sizeof x);
    x = apply(x, by);
    std::memcpy(out + i * sizeof x, &x, sizeof x);
  }
}

template <class T>
T load(const void* factor) {
  T by;
  std::memcpy(&by, factor, sizeof by);
  return by;
}

template <class T>
T times(T a, T b) {
  return a * b;
}
// Through 32 unsigned bits: a product of small integers is promoted to int, which must not overflow.
template <class T>
T wraps(T a, T b) {
  return static_cast<T>(static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
}
std::uint16_t halves(std::uint16_t a, std::uint16_t b) {
  return host::float_to_f16(host::f16_to_float(a) * host::f16_to_float(b));
}
std::uint16_t brains(std::uint16_t a, std::uint16_t b) {
  return host::float_to_bf16(host::bf16_to_float(a) * host::bf16_to_float(b));
}

}  // namespace

void scale(DataType type, void* dst, const void* src, const void* factor, std::size_t count) {
  switch (type) {
    case DataType::kF64: return each<double>(dst, src, load<double>(factor), count, times<double>);
    case DataType::kF32: return each<float>(dst, src, load<float>(factor), count, times<float>);
    case DataType::kF16: return each<std::uint16_t>(dst, src, load<std::uint16_t>(factor), count, halves);
    case DataType::kBF16: return each<std::uint16_t>(dst, src, load<std::uint16_t>(factor), count, brains);
    case DataType::kI8:  // two's complement: the product's low bits are those of the unsigned one
    case DataType::kU8: return each<std::uint8_t>(dst, src, load<std::uint8_t>(factor), count, wraps<std::uint8_t>);
    case DataType::kI32:
    case DataType::kU32: return each<std::uint32_t>(dst, src, load<std::uint32_t>(factor), count, wraps<std::uint32_t>);
    case DataType::kI64:
    case DataType::kU64: return each<std::uint64_t>(dst, src, load<std::uint64_t>(factor), count, times<std::uint64_t>);
  }
}

void divide(DataType type, void* data, std::uint32_t by, std::size_t count) {
  const auto quotient = [](auto x, auto d) { return static_cast<decltype(x)>(x / d); };
  const auto f16 = [](std::uint16_t x, float d) { return host::float_to_f16(one_nan(host::f16_to_float(x) / d)); };
  const auto bf16 = [](std::uint16_t x, float d) { return host::float_to_bf16(one_nan(host::bf16_to_float(x) / d)); };
  const auto f64 = [](double x, double d) { return one_nan(x / d); };
  const auto f32 = [](float x, float d) { return one_nan(x / d); };
  const auto wide = static_cast<std::int64_t>(by);
  switch (type) {
    case DataType::kF64: return each<double>(data, data, static_cast<double>(by), count, f64);
    case DataType::kF32: return each<float>(data, data, static_cast<float>(by), count, f32);
    case DataType::kF16: return each<std::uint16_t>(data, data, static_cast<float>(by), count, f16);
    case DataType::kBF16: return each<std::uint16_t>(data, data, static_cast<float>(by), count, bf16);
    case DataType::kI8: return each<std::int8_t>(data, data, wide, count, quotient);
    case DataType::kU8: return each<std::uint8_t>(data, data, wide, count, quotient);
    case DataType::kI32: return each<std::int32_t>(data, data, wide, count, quotient);
    case DataType::kU32: return each<std::uint32_t>(data, data, wide, count, quotient);
    case DataType::kI64: return each<std::int64_t>(data, data, wide, count, quotient);
    case DataType::kU64: return each<std::uint64_t>(data, data, std::uint64_t{by}, count, quotient);
  }
}

}  // namespace regroup::kernels

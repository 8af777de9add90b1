// Scale: plain loops over unaligned elements, which the compiler turns into vector code.
#include <cstdint>
#include <cstring>

#include "kernels/host/half.h"
#include "kernels/kernels.h"

namespace regroup::kernels {
namespace {

template <class T, class Multiply>
void each(void* dst, const void* src, const void* factor, std::size_t count, Multiply multiply) {
  T by;
  std::memcpy(&by, factor, sizeof by);
  const auto* in = static_cast<const std::uint8_t*>(src);
  auto* out = static_cast<std::uint8_t*>(dst);
  for (std::size_t i = 0; i < count; ++i) {
    T x;
    std::memcpy(&x, in + i * sizeof x, sizeof x);
    x = multiply(x, by);
    std::memcpy(out + i * sizeof x, &x, sizeof x);
  }
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
    case DataType::kF64: return each<double>(dst, src, factor, count, times<double>);
    case DataType::kF32: return each<float>(dst, src, factor, count, times<float>);
    case DataType::kF16: return each<std::uint16_t>(dst, src, factor, count, halves);
    case DataType::kBF16: return each<std::uint16_t>(dst, src, factor, count, brains);
    case DataType::kI8:  // two's complement: the product's low bits are those of the unsigned one
    case DataType::kU8: return each<std::uint8_t>(dst, src, factor, count, wraps<std::uint8_t>);
    case DataType::kI32:
    case DataType::kU32: return each<std::uint32_t>(dst, src, factor, count, wraps<std::uint32_t>);
    case DataType::kI64:
    case DataType::kU64: return each<std::uint64_t>(dst, src, factor, count, times<std::uint64_t>);
  }
}

}  // namespace regroup::kernels

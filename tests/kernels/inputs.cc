#include "tests/kernels/inputs.h"

#include <bit>
#include <cstring>

namespace regroup::testing {
namespace {

struct Format {
  int exponent_bits, mantissa_bits;
};

Format format_of(DataType type) {
  switch (type) {
    case DataType::kF64: return {11, 52};
    case DataType::kF32: return {8, 23};
    case DataType::kF16: return {5, 10};
    case DataType::kBF16: return {8, 7};
    default: return {0, 0};
  }
}

// The bits of an integer in [-7, 7], by the format's definition.
std::uint64_t small_integer(Format f, std::uint64_t r) {
  const std::uint64_t size = r % 8;
  const std::uint64_t sign = r >> 8 & 1;
  if (size == 0) return 0;
  const int top = 63 - std::countl_zero(size);
  const std::uint64_t exponent = static_cast<std::uint64_t>(top + (1 << (f.exponent_bits - 1)) - 1);
  const std::uint64_t mantissa = (size ^ (1ull << top)) << (f.mantissa_bits - top);
  return sign << (f.exponent_bits + f.mantissa_bits) | exponent << f.mantissa_bits | mantissa;
}

// Exponents within 3 of that of 1.0: sums of 16-bit floats often lie half way between two of them.
std::uint64_t similar(Format f, std::uint64_t r) {
  const std::uint64_t exponent = static_cast<std::uint64_t>((1 << (f.exponent_bits - 1)) - 2) + r % 4;
  const std::uint64_t mantissa = r >> 8 & ((1ull << f.mantissa_bits) - 1);
  return (r >> 2 & 1) << (f.exponent_bits + f.mantissa_bits) | exponent << f.mantissa_bits | mantissa;
}

std::uint64_t corner(Format f, std::uint64_t r) {
  const int width = f.exponent_bits + f.mantissa_bits;
  const std::uint64_t sign = (r >> 8 & 1) << width;
  const std::uint64_t special = ((1ull << f.exponent_bits) - 1) << f.mantissa_bits;
  const std::uint64_t mantissa = r >> 12 & ((1ull << f.mantissa_bits) - 1);
  switch (r % 16) {
    case 0: return sign;                                                     // zeros
    case 1: return sign | special;                                           // infinities
    case 2: return sign | special | (mantissa == 0 ? 1 : mantissa);          // NaN, quiet or signalling, any payload
    case 3: return sign | mantissa;                                          // subnormal
    case 4: return sign | 1;                                                 // the smallest
    case 5: return sign | (special - 1);                                     // the largest
    case 6: return sign | 1ull << f.mantissa_bits;                           // the smallest normal one
    case 7: return sign | (special - (1ull << f.mantissa_bits)) | mantissa;  // near the largest
    default: return similar(f, r >> 4);
  }
}

std::uint64_t integer(std::size_t bytes, Flavour flavour, std::uint64_t r) {
  const int bits = static_cast<int>(8 * bytes);
  if (flavour == Flavour::kSmallIntegers) return r % 8;
  if (flavour == Flavour::kSimilar) return r >> 8;
  switch (r % 8) {
    case 0: return 0;
    case 1: return ~0ull;
    case 2: return 1ull << (bits - 1);        // the least signed one
    case 3: return (1ull << (bits - 1)) - 1;  // the greatest signed one
    default: return r >> 8;
  }
}

}  // namespace

Buffer make_input(DataType type, Flavour flavour, std::size_t count, Rng& rng) {
  const std::size_t size = size_of(type);
  const Format f = format_of(type);
  Buffer out(count * size);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint64_t r = rng.next();
    std::uint64_t bits = 0;
    if (f.exponent_bits == 0) {
      bits = integer(size, flavour, r);
    } else if (flavour == Flavour::kSmallIntegers) {
      bits = small_integer(f, r);
    } else {
      bits = flavour == Flavour::kSimilar ? similar(f, r) : corner(f, r);
    }
    std::memcpy(out.data() + i * size, &bits, size);
  }
  return out;
}

std::vector<Buffer> make_inputs(DataType type, Flavour flavour, std::size_t count, std::size_t k, std::uint64_t seed) {
  Rng rng(seed * 1000 + static_cast<std::uint64_t>(type) * 16 + static_cast<std::uint64_t>(flavour) + k * 64);
  std::vector<Buffer> out;
  for (std::size_t j = 0; j < k; ++j) out.push_back(make_input(type, flavour, count, rng));
  return out;
}

Buffer random_bytes(std::size_t n, std::uint64_t seed) {
  Rng rng(seed);
  Buffer bytes(n);
  for (auto& b : bytes) b = static_cast<std::uint8_t>(rng.next());
  return bytes;
}

}  // namespace regroup::testing

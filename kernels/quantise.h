// Quantise: bf16 to 8 bits with a scale per block of 32 elements, and back into a sum. Host twins; the definitions bind the
// CUDA ones too: same bits. Scales are powers of two (one byte: the exponent, biased by 127, as E8M0 of the OCP MX formats),
// so multiplying by them is exact and nothing depends on how a machine divides.
//
// For a block with largest magnitude m: the scale is the least 2^e with m <= 2^e * largest, e in [-127, 127], and a code is
// x / 2^e rounded to nearest even. m = 0: e = -127. A block that holds a NaN or an infinity has scale 0xff and codes 0,
// and comes back as NaN. Pure functions, no allocation; any alignment of codes and scales, any count; any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace regroup::kernels {

// kFp8: e4m3 without infinities (largest 448, smallest 2^-9). kInt8: two's complement, -127 .. 127.
enum class Code8 : std::uint8_t { kFp8, kInt8 };

inline constexpr std::size_t kScaleBlock = 32;
constexpr std::size_t scales_for(std::size_t count) { return (count + kScaleBlock - 1) / kScaleBlock; }

// codes[count], scales[scales_for(count)] from count elements of bf16.
void quantise(Code8 code, std::uint8_t* codes, std::uint8_t* scales, const void* bf16, std::size_t count);

// sum[i] += value of codes[i]: one f32 addition an element. sum is aligned as a float.
void dequantise_add(Code8 code, float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count);

}  // namespace regroup::kernels

// Tables of host kernels, one per SIMD target. reduce() and copy() call the best one; tests call each of them.
// Immutable after the first call, owned by the program, any thread. Nothing here can fail.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "kernels/quantise.h"

namespace regroup::kernels::host {

// Folds k >= 2 sources into dst, as reduce() says. `bytes` is a multiple of the element size; any alignment. With
// `stream` the bulk is stored non-temporally and the CALLER fences.
using ReduceFn = void (*)(std::uint8_t* dst, const std::uint8_t* const* sources, std::size_t k, std::size_t bytes,
                          bool stream);
// Copies with non-temporal stores. The CALLER fences.
using StreamCopyFn = void (*)(std::uint8_t* dst, const std::uint8_t* src, std::size_t bytes);
// The sum of the mixed words first, first + 1, ... of a digest (lists.h), which lie at `from`; they are copied to `to` unless
// that is null. Any alignment. With `stream` they are stored non-temporally, `to` is a multiple of 64 and the CALLER fences.
using DigestFn = std::uint64_t (*)(std::uint8_t* to, const std::uint8_t* from, std::size_t words, std::uint64_t first, bool stream);
// As in quantise.h, for one code.
using QuantiseFn = void (*)(std::uint8_t* codes, std::uint8_t* scales, const std::uint8_t* bf16, std::size_t count);
using DequantiseAddFn = void (*)(float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count);

inline constexpr std::size_t kCodes = 2;
using Row = std::array<ReduceFn, kReduceOpCount>;  // indexed by ReduceOp

struct Table {
  const char* name = nullptr;
  std::array<Row, kDataTypeCount> reduce{};  // indexed by DataType
  StreamCopyFn stream_copy = nullptr;
  DigestFn digest = nullptr;
  std::array<QuantiseFn, kCodes> quantise{};  // indexed by Code8
  std::array<DequantiseAddFn, kCodes> dequantise_add{};
};

// All targets that were compiled and that this machine can run, best first; never empty: the last one is plain C++,
// named "scalar".
[[nodiscard]] std::span<const Table> tables();
// The first of them.
[[nodiscard]] const Table& best();

// Rows of one Highway target (HWY_AVX3, ...), each defined in the file that compiles it. Used by table.cc only.
[[nodiscard]] Row f64_row(std::int64_t target);
[[nodiscard]] Row f32_row(std::int64_t target);
[[nodiscard]] Row f16_row(std::int64_t target);
[[nodiscard]] Row bf16_row(std::int64_t target);
[[nodiscard]] Row i8_row(std::int64_t target);
[[nodiscard]] Row u8_row(std::int64_t target);
[[nodiscard]] Row i32_row(std::int64_t target);
[[nodiscard]] Row u32_row(std::int64_t target);
[[nodiscard]] Row i64_row(std::int64_t target);
[[nodiscard]] Row u64_row(std::int64_t target);
[[nodiscard]] StreamCopyFn stream_copy_for(std::int64_t target);
[[nodiscard]] DigestFn digest_for(std::int64_t target);
[[nodiscard]] std::array<QuantiseFn, kCodes> quantise_for(std::int64_t target);
[[nodiscard]] std::array<DequantiseAddFn, kCodes> dequantise_add_for(std::int64_t target);
// The same in plain C++: what runs where none of our SIMD targets does.
[[nodiscard]] Table scalar_table();
// Parts of it, which are also the definition that all others are compared with, bit for bit, and what ends a vector's work.
std::uint64_t plain_digest(std::uint8_t* to, const std::uint8_t* from, std::size_t words, std::uint64_t first, bool stream);
template <Code8 kCode>
void plain_quantise(std::uint8_t* codes, std::uint8_t* scales, const std::uint8_t* bf16, std::size_t count);
template <Code8 kCode>
void plain_dequantise_add(float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count);

}  // namespace regroup::kernels::host

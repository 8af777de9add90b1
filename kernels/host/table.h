// Tables of host kernels, one per SIMD target. reduce() and copy() call the best one; tests call each of them.
// Immutable after the first call, owned by the program, any thread. Nothing here can fail.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace regroup::kernels::host {

// Folds k >= 2 sources into dst, as reduce() says. `bytes` is a multiple of the element size; any alignment. With
// `stream` the bulk is stored non-temporally and the CALLER fences.
using ReduceFn = void (*)(std::uint8_t* dst, const std::uint8_t* const* sources, std::size_t k, std::size_t bytes,
                          bool stream);
// Copies with non-temporal stores. The CALLER fences.
using StreamCopyFn = void (*)(std::uint8_t* dst, const std::uint8_t* src, std::size_t bytes);

using Row = std::array<ReduceFn, kReduceOpCount>;  // indexed by ReduceOp

struct Table {
  const char* name = nullptr;
  std::array<Row, kDataTypeCount> reduce{};  // indexed by DataType
  StreamCopyFn stream_copy = nullptr;
};

// All targets that were compiled and that this machine can run, best first; never empty: the last one is plain C++,
// named "scalar".
[[nodiscard]] std::span<const Table> tables();

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
// The same in plain C++: what runs where none of our SIMD targets does.
[[nodiscard]] Table scalar_table();

}  // namespace regroup::kernels::host

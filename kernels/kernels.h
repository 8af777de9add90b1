// Host kernels: k-to-1 reduce and copy. Pure functions of their arguments, no allocation, no state; any thread.
//
// The fold is left to right in the order of `sources`, which the caller fixes per view (canonical order); that makes
// the bits a function of (inputs, order) alone, whatever SIMD width run-time dispatch picks (G2). f16 and bf16 are
// accumulated in f32 over all sources and rounded once, to nearest even. f32/f64 sums are plain left-to-right IEEE
// additions (no FMA, no reassociation). kAvg divides the sum by sources.size() (floats: IEEE division in the
// accumulation type; integers: division truncated toward zero). Integer sum and prod wrap. Min and max of floats: if
// any input is NaN the result is NaN; -0 < +0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace regroup::kernels {

// How results are stored. kStream uses non-temporal stores (for data larger than the cache, or when the machine's cores
// do not share a cache); the kernel ends with a store fence, so a flag raised afterwards publishes them.
enum class Store { kCached, kStream };

// dst[i] = fold of sources[0][i] .. sources[k-1][i], i in [0, count). count is in elements. Any alignment, any count (0
// too). 1 <= k <= 1024. dst may be identical to one of the sources (in place), else must not overlap them. k == 1 is a
// copy.
void reduce(DataType type, ReduceOp op, void* dst, std::span<const void* const> sources, std::size_t count,
            Store store = Store::kCached);

// Copies `bytes` bytes; no overlap. Any alignment.
void copy(void* dst, const void* src, std::size_t bytes, Store store = Store::kCached);

// dst[i] = src[i] * *factor, where factor points at one element of the type. Integers wrap; f16 and bf16 are multiplied in
// f32 and rounded once. Any alignment. dst may be src, else must not overlap it.
void scale(DataType type, void* dst, const void* src, const void* factor, std::size_t count);

// data[i] /= by, where by > 0: how an average ends that was folded as a sum, part by part. Divides as kAvg does: floats
// in their type (f16 and bf16 in f32, rounded once more), integers truncated toward zero. Any alignment.
void divide(DataType type, void* data, std::uint32_t by, std::size_t count);

// Name of the SIMD target that dispatch picked ("AVX3", "AVX2", "SSE4", "scalar", ...).
[[nodiscard]] const char* target_name();

}  // namespace regroup::kernels

// The one place that says for which SIMD targets the kernels are compiled: AVX3 (AVX-512), AVX2 and SSE4 on x86, NEON
// on Arm. Targets that would only cost compile time are off, and so are those with vectors of unknown size, which
// cannot be members of a struct. Include before any Highway header; the files that do are recompiled per target.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV | HWY_WASM | HWY_WASM_EMU256)

#include <hwy/targets.h>

// Whether the target being compiled has vectors of ours; on the others the plain C++ table (plain.cc) runs.
#define RG_HAVE_VECTORS (HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128)

// Loops for a number of sources that is known when they are compiled, besides the general one. They quadruple the code,
// and instrumented code takes minutes to compile, so sanitizer builds go without.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RG_FIXED_COUNTS 0
#else
#define RG_FIXED_COUNTS 1
#endif

// The function `fn` of namespace N_<target>, or null if that target was not compiled.
#define RG_FUNCTION_OF(target, fn)              \
  ((target) == HWY_AVX3   ? HWY_CHOOSE_AVX3(fn) \
   : (target) == HWY_AVX2 ? HWY_CHOOSE_AVX2(fn) \
   : (target) == HWY_SSE4 ? HWY_CHOOSE_SSE4(fn) \
   : (target) == HWY_NEON ? HWY_CHOOSE_NEON(fn) \
                          : nullptr)

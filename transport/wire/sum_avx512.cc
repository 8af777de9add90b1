// Compiled with -mavx512f where the compiler builds for x86-64 (CMakeLists.txt).
#include "transport/wire/sum_wide.h"

#if defined(__x86_64__)
#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX512
#include <xxhash.h>

extern "C" uint64_t regroup_xxh3_avx512(const void* bytes, size_t count) { return XXH3_64bits(bytes, count); }
#endif

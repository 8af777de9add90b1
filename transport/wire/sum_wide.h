// One function per file that is compiled for wider vectors. C types only: nothing that is inline and shared with the rest of
// the program may be compiled here, or the linker could keep the wide form of it for everybody.
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
extern "C" {
uint64_t regroup_xxh3_avx2(const void* bytes, size_t count);
uint64_t regroup_xxh3_avx512(const void* bytes, size_t count);
}
#endif

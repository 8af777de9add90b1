// Target: one decoder (or machine) fed with bytes of anybody's. FUZZ_TARGET(name) { ... in ... } defines it.
//
// With REGROUP_FUZZ the file is a libFuzzer program of its own; otherwise all targets are part of `fuzz_replay`, which
// feeds them files (ordinary tests, any compiler). A target returns for every input; what must hold is RG_CHECKed, and
// the sanitizers see the rest. Threading: none; a target keeps nothing from one input to the next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "base/check.h"

namespace regroup::fuzz {

using Input = std::span<const std::uint8_t>;
using Target = void (*)(Input in);

// The targets of this program, by name.
inline std::map<std::string, Target>& targets() {
  static std::map<std::string, Target> all;
  return all;
}

inline std::span<const std::byte> bytes_of(Input in) { return std::as_bytes(in); }
inline std::string text_of(Input in) { return {reinterpret_cast<const char*>(in.data()), in.size()}; }

}  // namespace regroup::fuzz

#ifdef REGROUP_FUZZ
#define FUZZ_TARGET(name)                                                                                \
  static void target_##name(regroup::fuzz::Input in);                                                    \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);                     \
  extern "C" __attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const std::uint8_t* data, \
                                                                               std::size_t size) {       \
    target_##name({data, size});                                                                         \
    return 0;                                                                                            \
  }                                                                                                      \
  static void target_##name(regroup::fuzz::Input in)
#else
#define FUZZ_TARGET(name)                                                                                          \
  static void target_##name(regroup::fuzz::Input in);                                                              \
  [[maybe_unused]] static const bool known_##name = regroup::fuzz::targets().emplace(#name, target_##name).second; \
  static void target_##name(regroup::fuzz::Input in)
#endif

// CHECK: a bug, always on. Prints the condition, the place and a message, then aborts. Never for expected outcomes.
#pragma once

namespace regroup::detail {
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const char* message) noexcept;
}

#define RG_CHECK_MSG(condition, message)                                                                   \
  do {                                                                                                  \
    if (__builtin_expect(!(condition), 0))                                                              \
      ::regroup::detail::check_failed(#condition, __FILE__, __LINE__, message);                         \
  } while (0)
// Catch2 also has a CHECK; tests use theirs, product code uses RG_CHECK.
#define RG_CHECK(condition) RG_CHECK_MSG(condition, "")

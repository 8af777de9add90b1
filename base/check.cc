#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace regroup::detail {

void check_failed(const char* condition, const char* file, int line, const char* message) noexcept {
  std::fprintf(stderr, "regroup: CHECK failed: %s at %s:%d %s\n", condition, file, line, message);
  std::fflush(stderr);
  std::abort();
}

}  // namespace regroup::detail

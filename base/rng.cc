#include "base/rng.h"

#include <sys/random.h>

#include "base/check.h"

namespace regroup {

std::uint64_t random_u64() {
  std::uint64_t value = 0;
  while (value == 0) RG_CHECK(::getrandom(&value, sizeof value, 0) == sizeof value);
  return value;
}

Incarnation random_incarnation() { return {random_u64(), random_u64()}; }

}  // namespace regroup

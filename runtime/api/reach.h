// Whether the host can read a buffer that a caller gave: memory of a device cannot be, and would end the process where it is first
// touched. Cheap: pages that were found readable are remembered, a few of them, by each thread; a new one costs a system call.
// So memory that was unmapped since may count as readable still. Only the first byte is looked at.
#pragma once

#include "base/result.h"

namespace regroup {

// kInvalid names `what` ("input", "output") and its address. nullptr is not looked at.
[[nodiscard]] Status readable(const void* buffer, const char* what);

}  // namespace regroup

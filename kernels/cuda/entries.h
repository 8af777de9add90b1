// The kernel that a launch asks for, as cudaLaunchKernel() takes it.
#pragma once

#include "kernels/launches.h"

namespace regroup::kernels::cuda {

// nullptr: it is none of launches.h.
const void* entry_of(const device::Launch& launch);

}  // namespace regroup::kernels::cuda

// A CUDA device behind device.h, by the runtime API; stream writes and waits on words by driver functions that the
// runtime hands out, so nothing links libcuda. Without a GPU, or without a driver, making one says so, once and
// clearly.
//
// Beside what device.h says: a stream that is dropped is given ten seconds for the steps that it holds, since CUDA
// takes none of them back; a stream that still waits then (for a flag that nobody raises) counts as a lost device. A
// first error that CUDA keeps (a sticky one) is the device's health from then on. Kernels are loaded when the device is
// made (DATA_PATH.md, against deadlock).
#pragma once

#include <memory>

#include "base/result.h"
#include "kernels/device/device.h"

namespace regroup::device {

// kUnavailable: no such GPU (error 100), or no driver that this build can use (error 35).
Result<std::unique_ptr<Device>> make_cuda_device(int ordinal = 0);

}  // namespace regroup::device

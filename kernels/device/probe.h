// Do streams that wait for a word hold up others? Streams may share the hardware's queues; then a caller's stream that waits for
// an op would stop the streams that carry it out. To be asked once, before any op (DATA_PATH.md, GPU, against deadlock).
#pragma once

#include "base/result.h"
#include "kernels/device/device.h"

namespace regroup::device {

// True: they do, so nobody may wait in a stream. Takes milliseconds, or, where they do, `patience`. Errors: the device's.
Result<bool> waits_stall(Device& device, Duration patience = Duration::from_s(2));

}  // namespace regroup::device

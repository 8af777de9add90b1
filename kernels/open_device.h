// Devices by name, as options and programs give it.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "kernels/device/device.h"

namespace regroup::device {

// "cuda:N"; "host": the simulated one (host_device.h), with faults as "host,late_us=200,seed=7,fail_at=90".
// kConfig: no such name; kUnsupported: this build has no CUDA; kUnavailable: no such GPU here.
[[nodiscard]] Result<std::unique_ptr<Device>> open_device(const std::string& name);

[[nodiscard]] bool has_cuda();  // this build

}  // namespace regroup::device

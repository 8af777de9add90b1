// The devices of this machine: the host device, late, and where the build has CUDA the first GPU, if there is one.
#pragma once

#include <catch2/catch.hpp>
#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/device/host_device.h"
#ifdef RG_HAVE_CUDA
#include "kernels/cuda/cuda_device.h"
#endif

namespace regroup::testing {

inline std::vector<std::unique_ptr<device::Device>> devices() {
  std::vector<std::unique_ptr<device::Device>> all;
  all.push_back(device::make_host_device({1, Duration::from_us(50), 0}));
#ifdef RG_HAVE_CUDA
  Result<std::unique_ptr<device::Device>> gpu = device::make_cuda_device();
  if (gpu)
    all.push_back(std::move(*gpu));
  else if (gpu.code() != Code::kUnavailable || std::getenv("REGROUP_NEED_GPU") != nullptr)
    FAIL(gpu.error().detail);
#endif
  return all;
}

}  // namespace regroup::testing

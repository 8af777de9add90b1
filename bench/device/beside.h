// How much slower a product of matrices gets while kernels of ours run beside it on the device, by the number of their CTAs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/device/cases.h"
#include "bench/device/gemm.h"

namespace regroup::bench {

struct Beside {
  std::vector<std::uint32_t> ctas{2, 4};
  int rounds = 7;
  int products = 20;  // of a round
};

// Rounds with the kernel alternate with rounds without; both are medians. Prints a line for each number of CTAs and adds a row:
// {"gemm", "kernel", "ctas", "alone_us", "beside_us", "slow_down", "kernel_launches"}.
Status measure_beside(device::Device& device, Gemm& gemm, const DeviceCase& kernel, const Beside& how, nlohmann::json& rows);

}  // namespace regroup::bench

// Gemm: a product of two n x n matrices of bf16 on a stream of a device, to have something beside which its kernels run: cuBLAS
// on a GPU (libcublas.so.13 or .12, loaded when asked for), plain loops on the host device, which is for tests.
//
// Ownership: its matrices; the device outlives it. Threading: one thread. kUnavailable: no cuBLAS here; kNoMemory; kSystem.
#pragma once

#include <cstddef>
#include <memory>

#include "kernels/device/device.h"

namespace regroup::bench {

class Gemm {
 public:
  // `library`: of cuBLAS, a path or a name; empty: the usual names.
  static Result<std::unique_ptr<Gemm>> make(device::Device& device, std::size_t n, const std::string& library);
  virtual ~Gemm() = default;
  [[nodiscard]] virtual Status queue(device::Stream& stream) = 0;
  [[nodiscard]] virtual const char* name() const = 0;
};

}  // namespace regroup::bench

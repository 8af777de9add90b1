// Device memory between ranks: by its address inside a process, by CUDA IPC between processes, with peer access between GPUs.
//
// What CUDA promises of memory whose exporter is killed is nothing in writing; `make gpu-test PART=kills` reads on in such memory.
// Calls are for a thread whose current device is the reader's or lender's. Results are CUDA's errors, told by the caller.
// Ownership: open() and close() pair up; what is opened inside a process is the lender's. Any thread.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "kernels/device/device.h"

namespace regroup::device::cuda {

// Driver functions, found by the runtime.
struct Addresses {
  CUresult (*range)(CUdeviceptr* base, std::size_t* bytes, CUdeviceptr at) = nullptr;
  CUresult (*attribute)(void* data, CUpointer_attribute attribute, CUdeviceptr at) = nullptr;
};

// maker 0: this memory cannot be lent to other processes (not from cudaMalloc: a pool's, or mapped by hand).
Loan lend(const Addresses& driver, int ordinal, const void* memory);
// cudaErrorNotSupported: no ticket of a GPU, or one that this GPU has no access to.
cudaError_t open(const Loan& loan, int ordinal, const std::byte*& allocation, bool& foreign);
// `foreign`: as open() said.
void close(const std::byte* allocation, bool foreign);

}  // namespace regroup::device::cuda

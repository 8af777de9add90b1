#include "kernels/cuda/lending.h"

#include <random>

namespace regroup::device::cuda {
namespace {

constexpr std::uint32_t kMaker = 2;

struct Ticket {
  cudaIpcMemHandle_t handle;
  std::uint64_t process, base;
  std::int32_t ordinal;
};
static_assert(sizeof(Ticket) <= sizeof(Loan::ticket));

// Of this process; its number would be another one's in another container.
std::uint64_t this_process() {
  static const std::uint64_t number = [] {
    std::random_device draw;
    return std::uint64_t{draw()} << 32 | draw();
  }();
  return number;
}

cudaError_t reach(int from, int to) {
  if (from == to) return cudaSuccess;
  int can = 0;
  if (const cudaError_t error = cudaDeviceCanAccessPeer(&can, from, to); error != cudaSuccess) return error;
  if (can == 0) return cudaErrorNotSupported;
  const cudaError_t enabled = cudaDeviceEnablePeerAccess(to, 0);
  if (enabled != cudaErrorPeerAccessAlreadyEnabled) return enabled;
  (void)cudaGetLastError();  // it is no error of anybody's
  return cudaSuccess;
}

}  // namespace

Loan lend(const Addresses& driver, int ordinal, const void* memory) {
  Loan loan;
  const auto at = reinterpret_cast<CUdeviceptr>(memory);
  CUdeviceptr base = 0;
  std::size_t bytes = 0;
  unsigned long long id = 0;
  if (driver.range(&base, &bytes, at) != CUDA_SUCCESS || driver.attribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, at) != CUDA_SUCCESS)
    return loan;
  Ticket ticket{{}, this_process(), base, ordinal};
  if (cudaIpcGetMemHandle(&ticket.handle, reinterpret_cast<void*>(base)) != cudaSuccess) {
    (void)cudaGetLastError();
    return loan;
  }
  loan.maker = kMaker;
  loan.id = id;
  loan.bytes = bytes;
  loan.offset = at - base;
  std::memcpy(loan.ticket.data(), &ticket, sizeof ticket);
  return loan;
}

cudaError_t open(const Loan& loan, int ordinal, const std::byte*& allocation, bool& foreign) {
  if (loan.maker != kMaker) return cudaErrorNotSupported;
  Ticket ticket;
  std::memcpy(&ticket, loan.ticket.data(), sizeof ticket);
  foreign = ticket.process != this_process();
  if (!foreign) {
    allocation = reinterpret_cast<const std::byte*>(ticket.base);
    return reach(ordinal, ticket.ordinal);
  }
  void* at = nullptr;
  const cudaError_t error = cudaIpcOpenMemHandle(&at, ticket.handle, cudaIpcMemLazyEnablePeerAccess);
  allocation = static_cast<const std::byte*>(at);
  return error;
}

void close(const std::byte* allocation, bool foreign) {
  if (foreign) (void)cudaIpcCloseMemHandle(const_cast<std::byte*>(allocation));
}

}  // namespace regroup::device::cuda

// The kernels: a grid of threads around each body. An argument struct a launch, by value.
#include "kernels/cuda/bodies.h"
#include "kernels/cuda/entries.h"

namespace regroup::kernels::cuda {
namespace {

__device__ __forceinline__ std::size_t first() { return std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; }
__device__ __forceinline__ std::size_t threads() { return std::size_t{gridDim.x} * blockDim.x; }

template <DataType kType, ReduceOp kOp>
__global__ void reduce_kernel(const __grid_constant__ device::Reduce a) {
  reduce_body<kType, kOp>(a, first(), threads());
}
template <DataType kType>
__global__ void divide_kernel(const __grid_constant__ device::Divide a) {
  divide_body<kType>(a, first(), threads());
}
__global__ void copy_kernel(const __grid_constant__ device::Copy a) {
  if (a.word != nullptr && *reinterpret_cast<const volatile std::uint32_t*>(a.word) != a.value) return;
  copy_bytes(a.to, a.from, a.bytes, first(), threads());
}
__global__ void pieces_kernel(const __grid_constant__ device::Pieces a) { pieces_body(a, first(), threads()); }
__global__ void digest_kernel(const __grid_constant__ device::Digest a) {
  unsigned long long sum = digest_body(a, first(), threads());
  for (int other = 16; other > 0; other /= 2) sum += __shfl_down_sync(0xffffffffu, sum, other);
  if (threadIdx.x % 32 == 0) atomicAdd(reinterpret_cast<unsigned long long*>(a.sum), sum);
}
__global__ void quantise_kernel(const __grid_constant__ device::Quantise a) { quantise_body(a, first(), threads()); }
__global__ void dequantise_add_kernel(const __grid_constant__ device::DequantiseAdd a) {
  dequantise_add_body(a, first(), threads());
}

template <DataType kType>
const void* reduce_of(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum: return reinterpret_cast<const void*>(reduce_kernel<kType, ReduceOp::kSum>);
    case ReduceOp::kAvg: return reinterpret_cast<const void*>(reduce_kernel<kType, ReduceOp::kAvg>);
    case ReduceOp::kProd: return reinterpret_cast<const void*>(reduce_kernel<kType, ReduceOp::kProd>);
    case ReduceOp::kMin: return reinterpret_cast<const void*>(reduce_kernel<kType, ReduceOp::kMin>);
    case ReduceOp::kMax: return reinterpret_cast<const void*>(reduce_kernel<kType, ReduceOp::kMax>);
  }
  return nullptr;
}

struct ReduceOf {
  ReduceOp op;
  template <DataType kType>
  const void* operator()() const {
    return reduce_of<kType>(op);
  }
};
struct DivideOf {
  template <DataType kType>
  const void* operator()() const {
    return reinterpret_cast<const void*>(divide_kernel<kType>);
  }
};

template <class F>
const void* by_type(DataType type, F f) {
  switch (type) {
    case DataType::kF64: return f.template operator()<DataType::kF64>();
    case DataType::kF32: return f.template operator()<DataType::kF32>();
    case DataType::kF16: return f.template operator()<DataType::kF16>();
    case DataType::kBF16: return f.template operator()<DataType::kBF16>();
    case DataType::kI8: return f.template operator()<DataType::kI8>();
    case DataType::kU8: return f.template operator()<DataType::kU8>();
    case DataType::kI32: return f.template operator()<DataType::kI32>();
    case DataType::kU32: return f.template operator()<DataType::kU32>();
    case DataType::kI64: return f.template operator()<DataType::kI64>();
    case DataType::kU64: return f.template operator()<DataType::kU64>();
  }
  return nullptr;
}

template <class Arguments>
const Arguments& as(const device::Launch& launch) {
  return *reinterpret_cast<const Arguments*>(launch.arguments.data());
}

}  // namespace

const void* entry_of(const device::Launch& launch) {
  using device::KernelId;
  switch (launch.kernel) {
    case KernelId::kForeign: return nullptr;
    case KernelId::kReduce: return by_type(as<device::Reduce>(launch).type, ReduceOf{as<device::Reduce>(launch).op});
    case KernelId::kCopy: return reinterpret_cast<const void*>(copy_kernel);
    case KernelId::kDigest: return reinterpret_cast<const void*>(digest_kernel);
    case KernelId::kDivide: return by_type(as<device::Divide>(launch).type, DivideOf{});
    case KernelId::kPieces: return reinterpret_cast<const void*>(pieces_kernel);
    case KernelId::kQuantise: return reinterpret_cast<const void*>(quantise_kernel);
    case KernelId::kDequantiseAdd: return reinterpret_cast<const void*>(dequantise_add_kernel);
  }
  return nullptr;
}

}  // namespace regroup::kernels::cuda

// Element types and reduction operations, shared by the public API, the plans and the kernels.
// This header is public (installed below regroup/) and includes nothing of ours.
#pragma once

#include <cstddef>
#include <cstdint>

namespace regroup {

// Values are part of the wire format: append only.
enum class DataType : std::uint8_t { kF64 = 0, kF32, kF16, kBF16, kI8, kU8, kI32, kU32, kI64, kU64 };
inline constexpr int kDataTypeCount = 10;

// kAvg divides the sum by the number of contributors (integers: truncated division).
enum class ReduceOp : std::uint8_t { kSum = 0, kAvg, kProd, kMin, kMax };
inline constexpr int kReduceOpCount = 5;

constexpr std::size_t size_of(DataType type) {
  constexpr std::size_t sizes[kDataTypeCount] = {8, 4, 2, 2, 1, 1, 4, 4, 8, 8};
  return sizes[static_cast<std::size_t>(type)];
}

constexpr const char* name_of(DataType type) {
  constexpr const char* names[kDataTypeCount] = {"double", "float", "half", "bfloat16", "int8", "uint8",
                                                 "int32",  "uint32", "int64", "uint64"};
  return names[static_cast<std::size_t>(type)];
}

constexpr const char* name_of(ReduceOp op) {
  constexpr const char* names[kReduceOpCount] = {"sum", "avg", "prod", "min", "max"};
  return names[static_cast<std::size_t>(op)];
}

}  // namespace regroup

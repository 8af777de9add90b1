// The kernels of this project as launches on any device: their arguments, and what makes a Launch of them. The host
// device runs the host twins (kernels.h, lists.h, quantise.h, which define the bits); a CUDA device knows a kernel by
// its id. Sources of the set: what collectives on device buffers need (DATA_PATH.md, GPU).
//
// All memory must be the device's. Any alignment, any count (0 too). ctas: how much of the device a launch may take;
// the bits do not depend on it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"
#include "kernels/device/device.h"
#include "kernels/lists.h"
#include "kernels/quantise.h"

namespace regroup::device {

inline constexpr std::uint32_t kMaxSources = 32;
inline constexpr std::uint32_t kMaxPieces = 24;

// to[0 .. outputs) = fold of from[0 .. sources), as kernels::reduce. One source: a copy. outputs: 1 or 2.
struct Reduce {
  DataType type;
  ReduceOp op;
  std::uint32_t outputs, sources;
  std::size_t count;  // elements
  void* to[2];
  const void* from[kMaxSources];
};

// Copies; where `word` is given, only if it says `value` when the kernel runs.
struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
  const std::atomic<std::uint32_t>* word;
  std::uint32_t value;
};

// *sum += the digest of from (kernels::digest), copied to `to` unless that is null. *sum, of this device and aligned,
// holds 0 before.
struct Digest {
  void* to;
  const void* from;
  std::size_t bytes;
  std::uint64_t* sum;
};

// kernels::divide_by.
struct Divide {
  DataType type;
  void* data;
  const std::uint32_t* by;
  std::size_t count;
};

// kernels::pack, or unpack, of at most kMaxPieces.
struct Pieces {
  bool unpack;
  std::uint32_t count;
  std::byte* flat;
  kernels::Piece piece[kMaxPieces];
};

// kernels::quantise and dequantise_add.
struct Quantise {
  kernels::Code8 code;
  std::uint8_t *codes, *scales;
  const void* bf16;
  std::size_t count;
};
struct DequantiseAdd {
  kernels::Code8 code;
  float* sum;
  const std::uint8_t *codes, *scales;
  std::size_t count;
};

[[nodiscard]] Launch launch_of(const Reduce& a, std::uint32_t ctas);
[[nodiscard]] Launch launch_of(const Copy& a, std::uint32_t ctas);
[[nodiscard]] Launch launch_of(const Digest& a, std::uint32_t ctas);
[[nodiscard]] Launch launch_of(const Divide& a, std::uint32_t ctas);
[[nodiscard]] Launch launch_of(const Pieces& a, std::uint32_t ctas);
[[nodiscard]] Launch launch_of(const Quantise& a, std::uint32_t ctas);
[[nodiscard]] Launch launch_of(const DequantiseAdd& a, std::uint32_t ctas);

// Queue as many launches as the list needs.
Status pack(Stream& stream, void* to, std::span<const kernels::Piece> pieces, std::uint32_t ctas);
Status unpack(Stream& stream, std::span<const kernels::Piece> pieces, const void* from, std::uint32_t ctas);

}  // namespace regroup::device

// Kernels over lists and whole buffers: pack and unpack of bucket lists, zero-fill, a digest made while bytes are copied,
// and the division that ends an average whose divisor lies in memory. Host twins; the definitions here bind the CUDA
// ones too: same bits. Pure functions of their arguments, any alignment, any count (0 too); any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/dtype.h"

namespace regroup::kernels {

struct Piece {
  void* at = nullptr;
  std::size_t bytes = 0;
};

// The pieces one after another into `to` (which has room for all and overlaps none); and back.
void pack(void* to, std::span<const Piece> pieces);
void unpack(std::span<const Piece> pieces, const void* from);
[[nodiscard]] std::size_t bytes_of(std::span<const Piece> pieces);

void zero(void* at, std::size_t bytes);

// Digest of `bytes` bytes. The buffer counts as little-endian 64-bit words w[0], w[1], ..., the last one filled up with zero bytes:
//   digest = mix(bytes) + sum over i of mix(w[i] + (i + 1) * 0x9e3779b97f4a7c15)      (mod 2^64)
// where mix is the finaliser of SplitMix64. A sum, so that blocks of threads may make parts of it in any order. Finds what
// differs by accident; is no protection against who wants to deceive.
[[nodiscard]] std::uint64_t digest(const void* from, std::size_t bytes);
// copy() and the digest of what was copied, in one pass over memory. No overlap.
std::uint64_t copy_digest(void* to, const void* from, std::size_t bytes);

// data[i] /= *by as divide() of kernels.h does, with *by read when the kernel runs, not when it is queued: a captured graph
// stays valid when the number of contributors changes. *by == 0: data stays as it is.
void divide_by(DataType type, void* data, const std::uint32_t* by, std::size_t count);

}  // namespace regroup::kernels

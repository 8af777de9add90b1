// What one thread of a launch does: of `step` threads in all it takes places first, first + step, ... For nvcc
// (kernels.cu) and, in tests, for the host compiler: same code, same bits. Where all addresses lie alike to 16 bytes,
// elements go by vectors of them, several in flight; else one by one.
#pragma once

#include <cstring>

#include "kernels/cuda/element.h"
#include "kernels/host/codes.h"
#include "kernels/launches.h"

namespace regroup::kernels::cuda {

inline constexpr std::size_t kVector = 16;
inline constexpr int kInFlight = 4;  // vectors of a source

struct alignas(kVector) Vector {
  std::uint32_t words[4];
};
template <class Raw>
struct alignas(kVector) Lanes {
  Raw lane[kVector / sizeof(Raw)];
};

// `bytes` bytes at n addresses that all lie alike: up to the first boundary, whole vectors, the rest. Else all of it is
// head.
struct Cut {
  std::size_t head, vectors = 0;
  template <class At>
  RG_BOTH Cut(std::size_t bytes, std::size_t element, std::uint32_t n, At at) : head(bytes) {
    const std::size_t phase = reinterpret_cast<std::uintptr_t>(at(0)) % kVector;
    for (std::uint32_t i = 1; i < n; ++i)
      if (reinterpret_cast<std::uintptr_t>(at(i)) % kVector != phase) return;
    const std::size_t before = (kVector - phase) % kVector;
    if (before % element != 0 || before >= bytes) return;
    head = before;
    vectors = (bytes - head) / kVector;
  }
};

template <class T>
RG_BOTH T load(const void* from, std::size_t i) {
  const auto* at = static_cast<const T*>(from) + i;
  if (reinterpret_cast<std::uintptr_t>(at) % sizeof(T) == 0) return *at;
  T x;
  memcpy(&x, at, sizeof x);
  return x;
}
template <class T>
RG_BOTH void store(void* to, std::size_t i, T x) {
  auto* at = static_cast<T*>(to) + i;
  if (reinterpret_cast<std::uintptr_t>(at) % sizeof(T) == 0)
    *at = x;
  else
    memcpy(at, &x, sizeof x);
}
RG_BOTH Vector load_vector(const void* from, std::size_t byte) {
  return *reinterpret_cast<const Vector*>(static_cast<const char*>(from) + byte);
}
RG_BOTH void store_vector(void* to, std::size_t byte, Vector v) {
  *reinterpret_cast<Vector*>(static_cast<char*>(to) + byte) = v;
}

template <DataType kType, ReduceOp kOp>
RG_BOTH void reduce_body(const device::Reduce& a, std::size_t first, std::size_t step_) {
  using E = ElementOf<kType>;
  using Raw = typename E::Raw;
  using Acc = typename E::Acc;
  constexpr std::size_t kLanes = kVector / sizeof(Raw);
  const auto finish = [&](Acc acc) {
    if constexpr (kOp == ReduceOp::kAvg) acc = quotient(acc, a.sources);
    return E::narrow(canonical(acc));
  };
  const auto one = [&](std::size_t i) {
    Raw x = load<Raw>(a.from[0], i);
    if (a.sources > 1) {
      Acc acc = E::widen(x);
      for (std::uint32_t s = 1; s < a.sources; ++s) acc = step<kOp>(acc, E::widen(load<Raw>(a.from[s], i)));
      x = finish(acc);
    }
    for (std::uint32_t o = 0; o < a.outputs; ++o) store(a.to[o], i, x);
  };
  const Cut cut(a.count * sizeof(Raw), sizeof(Raw), a.outputs + a.sources,
                [&](std::uint32_t i) { return i < a.outputs ? a.to[i] : a.from[i - a.outputs]; });
  for (std::size_t i = first; i < cut.head / sizeof(Raw); i += step_) one(i);
  for (std::size_t v = first; v < cut.vectors; v += step_ * kInFlight) {
    Vector raw[kInFlight];
    for (int u = 0; u < kInFlight; ++u)
      if (v + u * step_ < cut.vectors) raw[u] = load_vector(a.from[0], cut.head + (v + u * step_) * kVector);
    if (a.sources > 1) {
      Acc acc[kInFlight][kLanes];
      for (int u = 0; u < kInFlight; ++u)
        for (std::size_t l = 0; l < kLanes; ++l) acc[u][l] = E::widen(std::bit_cast<Lanes<Raw>>(raw[u]).lane[l]);
      for (std::uint32_t s = 1; s < a.sources; ++s) {
        for (int u = 0; u < kInFlight; ++u)
          if (v + u * step_ < cut.vectors) raw[u] = load_vector(a.from[s], cut.head + (v + u * step_) * kVector);
        for (int u = 0; u < kInFlight; ++u) {
          const auto next = std::bit_cast<Lanes<Raw>>(raw[u]);
          for (std::size_t l = 0; l < kLanes; ++l) acc[u][l] = step<kOp>(acc[u][l], E::widen(next.lane[l]));
        }
      }
      for (int u = 0; u < kInFlight; ++u) {
        Lanes<Raw> out;
        for (std::size_t l = 0; l < kLanes; ++l) out.lane[l] = finish(acc[u][l]);
        raw[u] = std::bit_cast<Vector>(out);
      }
    }
    for (int u = 0; u < kInFlight; ++u)
      if (v + u * step_ < cut.vectors)
        for (std::uint32_t o = 0; o < a.outputs; ++o)
          store_vector(a.to[o], cut.head + (v + u * step_) * kVector, raw[u]);
  }
  for (std::size_t i = (cut.head + cut.vectors * kVector) / sizeof(Raw) + first; i < a.count; i += step_) one(i);
}

RG_BOTH void copy_bytes(void* to, const void* from, std::size_t bytes, std::size_t first, std::size_t step_) {
  const Cut cut(bytes, 1, 2, [&](std::uint32_t i) { return i == 0 ? static_cast<const void*>(to) : from; });
  for (std::size_t i = first; i < cut.head; i += step_) store(to, i, load<std::uint8_t>(from, i));
  for (std::size_t v = first; v < cut.vectors; v += step_ * kInFlight) {
    Vector raw[kInFlight];
    for (int u = 0; u < kInFlight; ++u)
      if (v + u * step_ < cut.vectors) raw[u] = load_vector(from, cut.head + (v + u * step_) * kVector);
    for (int u = 0; u < kInFlight; ++u)
      if (v + u * step_ < cut.vectors) store_vector(to, cut.head + (v + u * step_) * kVector, raw[u]);
  }
  for (std::size_t i = cut.head + cut.vectors * kVector + first; i < bytes; i += step_)
    store(to, i, load<std::uint8_t>(from, i));
}

RG_BOTH void pieces_body(const device::Pieces& a, std::size_t first, std::size_t step_) {
  std::byte* flat = a.flat;
  for (std::uint32_t i = 0; i < a.count; ++i) {
    a.unpack ? copy_bytes(a.piece[i].at, flat, a.piece[i].bytes, first, step_)
             : copy_bytes(flat, a.piece[i].at, a.piece[i].bytes, first, step_);
    flat += a.piece[i].bytes;
  }
}

RG_BOTH std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// This thread's part of the sum.
RG_BOTH std::uint64_t digest_body(const device::Digest& a, std::size_t first, std::size_t step_) {
  constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ull;
  const std::size_t words = a.bytes / 8, left = a.bytes % 8;
  std::uint64_t sum = first == 0 ? mix(a.bytes) : 0;
  for (std::size_t i = first; i < words; i += step_) {
    const auto w = load<std::uint64_t>(a.from, i);
    if (a.to != nullptr) store(a.to, i, w);
    sum += mix(w + (i + 1) * kStep);
  }
  if (left != 0 && words % step_ == first) {
    std::uint64_t w = 0;
    for (std::size_t b = words * 8; b < a.bytes; ++b) {
      const auto byte = load<std::uint8_t>(a.from, b);
      if (a.to != nullptr) store(a.to, b, byte);
      w |= std::uint64_t{byte} << (8 * (b % 8));
    }
    sum += mix(w + (words + 1) * kStep);
  }
  return sum;
}

template <DataType kType>
RG_BOTH void divide_body(const device::Divide& a, std::size_t first, std::size_t step_) {
  using E = ElementOf<kType>;
  const std::uint32_t by = *a.by;
  if (by == 0) return;
  for (std::size_t i = first; i < a.count; i += step_)
    store(a.data, i, E::narrow(canonical(quotient(E::widen(load<typename E::Raw>(a.data, i)), by))));
}

// A block of kScaleBlock elements a thread.
RG_BOTH void quantise_body(const device::Quantise& a, std::size_t first, std::size_t step_) {
  for (std::size_t block = first; block < scales_for(a.count); block += step_) {
    const std::size_t at = block * kScaleBlock, end = at + kScaleBlock < a.count ? at + kScaleBlock : a.count;
    std::uint16_t most = 0;
    for (std::size_t i = at; i < end; ++i) {
      const auto m = static_cast<std::uint16_t>(load<std::uint16_t>(a.bf16, i) & 0x7fff);
      most = m > most ? m : most;
    }
    const bool number = most < host::kInfinity;
    const int e = number ? host::exponent_for(most, a.code) : 0;
    a.scales[block] = number ? static_cast<std::uint8_t>(e + host::kBias) : host::kNaNScale;
    for (std::size_t i = at; i < end; ++i)
      a.codes[i] =
          number ? host::encode(a.code, host::divided(host::bf16_to_float(load<std::uint16_t>(a.bf16, i)), e)) : 0;
  }
}

RG_BOTH void dequantise_add_body(const device::DequantiseAdd& a, std::size_t first, std::size_t step_) {
  for (std::size_t i = first; i < a.count; i += step_)
    a.sum[i] += host::decode(a.code, a.codes[i]) * host::scale_of(a.scales[i / kScaleBlock]);
}

}  // namespace regroup::kernels::cuda

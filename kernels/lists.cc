#include "kernels/lists.h"

#include <algorithm>
#include <cstring>

#include "base/fence.h"
#include "kernels/host/mix.h"
#include "kernels/host/table.h"
#include "kernels/kernels.h"

namespace regroup::kernels {
namespace {

constexpr std::size_t kStreamBytes = 2u << 20;
constexpr std::size_t kWord = 8;
constexpr std::size_t kLine = 64;
constexpr std::size_t kBlock = 16u << 10;  // copied and digested while it is in the nearest cache

using host::mix;

// Of words first, first + 1, ... and of the bytes behind them, filled up with zeros; copied to `to` unless that is null.
std::uint64_t digest_part(std::uint8_t* to, const std::uint8_t* from, std::size_t bytes, std::uint64_t first, Store store = Store::kCached) {
  const std::size_t words = bytes / kWord, left = bytes % kWord;
  std::uint64_t sum = host::best().digest(to, from, words, first, store == Store::kStream);
  if (left != 0) {
    std::uint8_t last[kWord] = {};
    std::memcpy(last, from + words * kWord, left);
    sum += host::plain_digest(nullptr, last, 1, first + words, false);
    if (to != nullptr) std::memcpy(to + words * kWord, last, left);
  }
  return sum;
}

Store store_for(std::size_t bytes) { return bytes >= kStreamBytes ? Store::kStream : Store::kCached; }

}  // namespace

std::size_t bytes_of(std::span<const Piece> pieces) {
  std::size_t bytes = 0;
  for (const Piece& p : pieces) bytes += p.bytes;
  return bytes;
}

void pack(void* to, std::span<const Piece> pieces) {
  auto* at = static_cast<std::byte*>(to);
  const Store store = store_for(bytes_of(pieces));
  for (const Piece& p : pieces) {
    copy(at, p.at, p.bytes, store);
    at += p.bytes;
  }
}

void unpack(std::span<const Piece> pieces, const void* from) {
  const auto* at = static_cast<const std::byte*>(from);
  const Store store = store_for(bytes_of(pieces));
  for (const Piece& p : pieces) {
    copy(p.at, at, p.bytes, store);
    at += p.bytes;
  }
}

void zero(void* at, std::size_t bytes) {
  if (bytes != 0) std::memset(at, 0, bytes);
}

std::uint64_t digest(const void* from, std::size_t bytes) {
  return mix(bytes) + digest_part(nullptr, static_cast<const std::uint8_t*>(from), bytes, 0);
}

std::uint64_t copy_digest(void* to, const void* from, std::size_t bytes) {
  const auto* src = static_cast<const std::uint8_t*>(from);
  auto* dst = static_cast<std::uint8_t*>(to);
  std::uint64_t sum = mix(bytes);
  if (store_for(bytes) == Store::kCached) return sum + digest_part(dst, src, bytes, 0);
  const std::size_t head = (kLine - reinterpret_cast<std::uintptr_t>(dst) % kLine) % kLine;
  if (head % kWord == 0) {
    sum += digest_part(dst, src, head, 0);
    sum += digest_part(dst + head, src + head, bytes - head, head / kWord, Store::kStream);
    stream_fence();
    return sum;
  }
  for (std::size_t at = 0; at < bytes; at += kBlock) {  // words of the digest are none of the destination's
    const std::size_t n = std::min(kBlock, bytes - at);
    sum += digest_part(nullptr, src + at, n, at / kWord);
    copy(dst + at, src + at, n, Store::kStream);
  }
  return sum;
}

void divide_by(DataType type, void* data, const std::uint32_t* by, std::size_t count) {
  if (const std::uint32_t divisor = *by; divisor != 0) divide(type, data, divisor, count);
}

}  // namespace regroup::kernels

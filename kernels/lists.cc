#include "kernels/lists.h"

#include <algorithm>
#include <cstring>

#include "kernels/kernels.h"

namespace regroup::kernels {
namespace {

constexpr std::size_t kStreamBytes = 2u << 20;
constexpr std::size_t kWord = 8;
constexpr std::size_t kBlock = 16u << 10;  // copied and digested while it is in the nearest cache
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ull;

std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// Of words first, first + 1, ...; whole words only.
std::uint64_t digest_words(const std::byte* from, std::size_t words, std::uint64_t first) {
  std::uint64_t sum = 0, key = (first + 1) * kStep;
  for (std::size_t i = 0; i < words; ++i, key += kStep) {
    std::uint64_t w;
    std::memcpy(&w, from + i * kWord, kWord);
    sum += mix(w + key);
  }
  return sum;
}

std::uint64_t digest_part(const std::byte* from, std::size_t bytes, std::uint64_t first) {
  const std::size_t words = bytes / kWord, left = bytes % kWord;
  std::uint64_t sum = digest_words(from, words, first);
  if (left != 0) {
    std::byte last[kWord] = {};
    std::memcpy(last, from + words * kWord, left);
    sum += digest_words(last, 1, first + words);
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
  return mix(bytes) + digest_part(static_cast<const std::byte*>(from), bytes, 0);
}

std::uint64_t copy_digest(void* to, const void* from, std::size_t bytes) {
  const auto* src = static_cast<const std::byte*>(from);
  auto* dst = static_cast<std::byte*>(to);
  const Store store = store_for(bytes);
  std::uint64_t sum = mix(bytes);
  for (std::size_t at = 0; at < bytes; at += kBlock) {
    const std::size_t n = std::min(kBlock, bytes - at);
    sum += digest_part(src + at, n, at / kWord);
    copy(dst + at, src + at, n, store);
  }
  return sum;
}

void divide_by(DataType type, void* data, const std::uint32_t* by, std::size_t count) {
  if (const std::uint32_t divisor = *by; divisor != 0) divide(type, data, divisor, count);
}

}  // namespace regroup::kernels

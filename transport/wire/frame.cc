#include "transport/wire/frame.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string>

#include "transport/wire/sum.h"

namespace regroup::wire {
namespace {

void put(HeaderBytes& out, std::size_t at, std::uint64_t v, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[at + i] = static_cast<std::byte>(v >> (8 * i));
}
std::uint64_t get(std::span<const std::byte, kHeaderBytes> in, std::size_t at, std::size_t n) {
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < n; ++i) v |= std::uint64_t(std::to_integer<std::uint8_t>(in[at + i])) << (8 * i);
  return v;
}
constexpr std::size_t kSumAt = 60;
constexpr std::size_t kWideBytes = 1024;  // below it one kind of vectors is as good as another

std::uint32_t header_sum(const std::byte* header) { return static_cast<std::uint32_t>(XXH3_64bits(header, kSumAt)); }

}  // namespace

std::uint64_t checksum(std::span<const std::byte> payload) {
  if (payload.empty()) return 0;
  return payload.size() < kWideBytes ? XXH3_64bits(payload.data(), payload.size()) : best_sum()(payload.data(), payload.size());
}

std::uint64_t group_hash(std::string_view name) { return XXH3_64bits(name.data(), name.size()); }

void fill(Frame& frame, std::span<const std::byte> payload) {
  frame.length = static_cast<std::uint32_t>(payload.size());
  frame.payload_sum = checksum(payload);
}

void encode(const Frame& f, HeaderBytes& out) {
  put(out, 0, kMagic, 4);
  put(out, 4, kVersion, 2);
  put(out, 6, f.type, 2);
  put(out, 8, f.group, 8);
  put(out, 16, f.epoch, 8);
  put(out, 24, f.op, 8);
  put(out, 32, f.chunk, 4);
  put(out, 36, f.length, 4);
  put(out, 40, f.offset, 8);
  put(out, 48, f.payload_sum, 8);
  put(out, 56, 0, 4);
  put(out, kSumAt, header_sum(out.data()), 4);
}

Result<Frame> decode(std::span<const std::byte, kHeaderBytes> in) {
  if (get(in, 0, 4) != kMagic) return {Code::kRefused, "not a regroup frame (wrong magic)"};
  if (get(in, 4, 2) != kVersion)
    return {Code::kRefused, "wire version " + std::to_string(get(in, 4, 2)) + ", this build speaks " + std::to_string(kVersion)};
  if (get(in, kSumAt, 4) != header_sum(in.data())) return {Code::kRefused, "frame header checksum differs"};
  Frame f;
  f.type = static_cast<std::uint16_t>(get(in, 6, 2));
  f.group = get(in, 8, 8);
  f.epoch = get(in, 16, 8);
  f.op = get(in, 24, 8);
  f.chunk = static_cast<std::uint32_t>(get(in, 32, 4));
  f.length = static_cast<std::uint32_t>(get(in, 36, 4));
  f.offset = get(in, 40, 8);
  f.payload_sum = get(in, 48, 8);
  if (f.length > kMaxPayloadBytes) return {Code::kRefused, "frame of " + std::to_string(f.length) + " bytes is over the bound"};
  return f;
}

}  // namespace regroup::wire

// Frames: the one format on every TCP connection of ours (control, data links, state transfer).
//
// 64-byte header, explicit little-endian, then `length` bytes of opaque payload. The header carries its own checksum and
// the payload's. A frame that is truncated, oversized, of another version, or with a wrong checksum is an error of the
// connection (close it, count it); one of another group or epoch is dropped by its reader. Never a crash.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace regroup::wire {

inline constexpr std::uint32_t kMagic = 0x50524752;  // "RGRP"
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kHeaderBytes = 64;
inline constexpr std::uint32_t kMaxPayloadBytes = 4u << 20;  // data chunks are 1 MiB, control messages far below

struct Frame {
  std::uint16_t type = 0;     // meaning belongs to the protocol that uses the connection
  std::uint64_t group = 0;    // group_hash(name)
  std::uint64_t epoch = 0;
  std::uint64_t op = 0;
  std::uint32_t chunk = 0;
  std::uint32_t length = 0;   // payload bytes, <= kMaxPayloadBytes
  std::uint64_t offset = 0;   // free for the user of the connection, e.g. byte offset of a chunk
  std::uint64_t payload_sum = 0;
  bool operator==(const Frame&) const = default;
};

using HeaderBytes = std::array<std::byte, kHeaderBytes>;

// XXH3 64 of the payload (0 for an empty one).
[[nodiscard]] std::uint64_t checksum(std::span<const std::byte> payload);
// XXH3 64 of the group's name.
[[nodiscard]] std::uint64_t group_hash(std::string_view name);

// Encodes as given; the caller has set length and payload_sum (see fill).
void encode(const Frame& frame, HeaderBytes& out);
// Sets length and payload_sum from the payload.
void fill(Frame& frame, std::span<const std::byte> payload);
// kRefused names what is wrong: magic, version, header checksum, length.
[[nodiscard]] Result<Frame> decode(std::span<const std::byte, kHeaderBytes> in);

}  // namespace regroup::wire

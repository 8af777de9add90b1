// Head of an active message: the frame's header, then the number of the message on its lane and the key of the lane
// (explicit little-endian).
#pragma once

#include <array>
#include <cstring>

#include "transport/wire/frame.h"

namespace regroup::ucx {

inline constexpr std::size_t kHeadBytes = wire::kHeaderBytes + 16;
inline constexpr std::size_t kKnockBytes = 8;  // a knock is the key alone

struct Head {
  wire::HeaderBytes frame;
  std::uint64_t number = 0;
  std::uint64_t key = 0;
};

inline void encode(const Head& head, std::byte* to) {
  std::memcpy(to, head.frame.data(), head.frame.size());
  to += head.frame.size();
  for (int i = 0; i < 16; ++i) to[i] = static_cast<std::byte>((i < 8 ? head.number : head.key) >> (8 * (i % 8)));
}

inline Head decode_head(const std::byte* from) {
  Head head;
  std::memcpy(head.frame.data(), from, head.frame.size());
  from += head.frame.size();
  for (int i = 0; i < 16; ++i) (i < 8 ? head.number : head.key) |= std::to_integer<std::uint64_t>(from[i]) << (8 * (i % 8));
  return head;
}

}  // namespace regroup::ucx

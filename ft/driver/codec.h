// Codec: control messages <-> bytes. Explicit little-endian, every length and count bounded.
//
// Pure functions. A malformed message is kRefused with what was wrong; the caller closes the link and counts it. What
// decode accepts, encode gives back byte for byte.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "ft/core/messages.h"

namespace regroup {

inline constexpr std::uint32_t kMaxMembers = 4096;         // of one view
inline constexpr std::uint32_t kMaxFailedOps = 4096;       // carried by one decision
inline constexpr std::size_t kMaxTextBytes = 4096;         // any text of a message
inline constexpr std::size_t kMaxControlBytes = 4u << 20;  // one message; a frame holds as much

[[nodiscard]] std::vector<std::byte> encode(const ToCoordinator& message);
[[nodiscard]] std::vector<std::byte> encode(const ToMember& message);
[[nodiscard]] std::vector<std::byte> encode(const Decision& decision);
[[nodiscard]] Result<ToCoordinator> decode_to_coordinator(std::span<const std::byte> bytes);
[[nodiscard]] Result<ToMember> decode_to_member(std::span<const std::byte> bytes);
[[nodiscard]] Result<Decision> decode_decision(std::span<const std::byte> bytes);

}  // namespace regroup

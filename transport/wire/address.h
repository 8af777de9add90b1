// MemberAddress: how the others reach a member. Travels as MemberInfo::address, opaque to the core.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace regroup::wire {

inline constexpr std::size_t kMachineBytes = 512;

struct MemberAddress {
  std::string data_host;          // numeric IPv4 or IPv6 address of the data listener
  std::uint16_t data_port = 0;
  std::uint16_t state_port = 0;   // listener of the state server, same host
  std::string segment_socket;     // abstract unix socket (no leading NUL) that hands out shared-memory descriptors; empty: none
  std::string death_socket;       // abstract unix socket that hands out the death page; empty: none
  std::int32_t pid = 0;           // in its own pid namespace; for status only
  std::uint64_t host = 0;         // host_locality(); members with equal ones see each other die, whatever moves their data; 0: unknown
  std::string machine = {};       // figures of its machine, at most kMachineBytes, for those who choose plans by them
  bool operator==(const MemberAddress&) const = default;
};

[[nodiscard]] std::string encode(const MemberAddress& address);
[[nodiscard]] Result<MemberAddress> decode_address(const std::string& bytes);

// Hash of (boot id, network namespace): members with equal values may try to share memory. 0 if it cannot be read.
[[nodiscard]] std::uint64_t host_locality();

}  // namespace regroup::wire

// Strong ids of the protocol. Values: they copy, compare and hash.
// This header is public (installed below regroup/) and includes nothing of ours.
#pragma once

#include <compare>
#include <cstdint>
#include <cstdio>
#include <string>

namespace regroup {

using Epoch = std::uint64_t;  // number of a view; unique together with the log id; 0: no view yet
using OpId = std::uint64_t;   // number of a collective within its group, from 1; 0: none
using LogId = std::uint64_t;  // random id of a view log; 0: not known

// Who a member is: stable over restarts. One rank per replica until replicas of many ranks exist.
struct MemberId {
  std::uint32_t replica = 0;
  std::uint32_t rank = 0;
  auto operator<=>(const MemberId&) const = default;
};

// One life of a member: a random 128-bit id, never reused.
struct Incarnation {
  std::uint64_t hi = 0;
  std::uint64_t lo = 0;
  auto operator<=>(const Incarnation&) const = default;
  [[nodiscard]] bool is_null() const { return hi == 0 && lo == 0; }
};

inline std::string to_string(const Incarnation& inc) {
  char text[36];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(inc.hi),
                static_cast<unsigned long long>(inc.lo));
  return text;
}

inline std::string to_string(const MemberId& id) {
  return id.rank == 0 ? std::to_string(id.replica) : std::to_string(id.replica) + "." + std::to_string(id.rank);
}

}  // namespace regroup

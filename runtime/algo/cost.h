// Cost: what a plan should take, from a handful of figures of a machine. Pure; for choosing and for printing, never for
// correctness: members that choose by it must have been given the same figures.
//
// The model counts the bytes that the busiest member touches and the hand-offs in its critical path. It leaves out
// caches other than by `small_bytes` and the interference of other programs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "runtime/algo/plan.h"

namespace regroup::algo {

struct Machine {
  double copy_gbps = 20;    // GB/s one core copies at, read and written bytes counted
  double memory_gbps = 40;  // GB/s all cores together
  double hop_us = 0.3;      // a flag from one member to another in shared memory, both running
  double net_gbps = 2.5;    // GB/s of one member's sends through its sockets
  double net_hop_us = 25;   // a small frame from member to member
  std::size_t cores = 2;    // of a host
  std::size_t small_bytes = 32768;
  // Sets one figure by its name ("copy_gbps=18"). kConfig names what is wrong.
  Status set(std::string_view key_value);
};

enum class Medium : std::uint8_t { kShared, kNetwork };

struct Estimate {
  const char* plan = "";  // "small", "waist", "direct"
  std::size_t moved = 0;  // bytes that this member reads and writes in memory
  std::size_t sent = 0;   // bytes that it sends
  int hops = 0;           // hand-offs one after the other, the commit's included
  double us = 0;
};
// Of member `self`, whose plan it is. `private_input`: not in registered memory, so it is staged first.
[[nodiscard]] Estimate estimate(const Plan& plan, const OpDesc& desc, std::size_t self, Medium medium,
                                const Machine& machine, bool private_input);

}  // namespace regroup::algo

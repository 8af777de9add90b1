// Cost: what a plan should take, from a handful of figures of a machine. Pure; for choosing and for printing, never for
// correctness: members that choose by it must have been given the same figures.
//
// The model counts the bytes that the busiest member touches and the hand-offs in its critical path. It leaves out
// caches other than by `small_bytes` and the interference of other programs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runtime/algo/plan.h"
#include "runtime/algo/route.h"

namespace regroup::algo {

struct Machine {
  double copy_gbps = 20;       // GB/s one core copies at, read and written bytes counted
  double fold_gbps = 60;       // the same where bytes have just come or are about to go (in cache, within cache_bytes)
  double memory_gbps = 40;     // GB/s all cores together
  double hop_us = 0.3;         // a flag from one member to another in shared memory, both running
  double net_gbps = 2.5;       // GB/s of one member's sends through its sockets, while it receives as much
  double net_hop_us = 15;      // what a frame takes from member to member besides the work of sending and receiving it
  double net_msg_us = 4.5;     // of one core, to send or to receive a small frame
  double turn_us = 25;         // until the next of several members on one core runs
  double fan_loss = 0.5;       // slower by so much for each doubling of the peers that bytes come from at once, within cache_bytes
  std::size_t cache_bytes = 24u << 20;  // vectors of all members of a host that still fit its cache
  std::size_t cores = 2;       // of a host
  std::size_t host_members = 1;  // on the fullest host (networks)
  std::size_t small_bytes = 32768;
  // Sets one figure by its name ("copy_gbps=18"). kConfig names what is wrong.
  Status set(std::string_view key_value);
  // Sets all that stand in a text: separated by blanks, commas or line ends, `#` up to the end of its line is left out.
  Status parse(std::string_view text);
  // All figures, as parse() reads them. Equal texts: equal predictions.
  [[nodiscard]] std::string text() const;
};

// What one member says of its machine.
struct MemberMachine {
  std::string_view host;
  Machine machine;
};
// The figures that a view goes by: of each the worst that a member says, and how full the fullest host is. A pure function
// of what the view carries, so the same at every member.
[[nodiscard]] Machine agree(const std::vector<MemberMachine>& members);

enum class Medium : std::uint8_t { kShared, kNetwork };

struct Estimate {
  const char* plan = "";  // "small", "waist", "direct", ...
  std::size_t moved = 0;  // bytes that this member reads and writes in memory
  std::size_t sent = 0;   // bytes that it sends
  int hops = 0;           // hand-offs one after the other, the commit's included
  std::size_t frames = 0; // networks: that it sends and receives
  double us = 0;
};
// Of member `self`, whose plan it is. `private_input`: not in registered memory, so it is staged first.
[[nodiscard]] Estimate estimate(const Plan& plan, const OpDesc& desc, std::size_t self, Medium medium,
                                const Machine& machine, bool private_input);

// Over a network, of whichever member: the same at all. For ops that have a choice of forms.
[[nodiscard]] Estimate predict(Form form, const OpDesc& desc, const Plan& plan, std::size_t members,
                               const Machine& machine, bool passes_on);
// Of a hierarchical all-reduce: a fold on the fullest host, a ring of one member of each, the result to all of a host.
[[nodiscard]] Estimate predict_hierarchical(const OpDesc& desc, const Plan& plan, const std::vector<std::uint32_t>& hosts,
                                            const Machine& machine, bool passes_on);
// Of the commit alone, `prepared` told by each to each or passed on.
[[nodiscard]] Estimate predict_commit(std::size_t members, const Machine& machine, bool passes_on);

}  // namespace regroup::algo

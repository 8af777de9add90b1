// Route: what one member sends and receives where partial results or others' blocks are passed on (over networks). A
// pure function of the descriptor, the members and the form, so it can be printed, tested and costed without running it.
//
// Three forms. *Ring*: reduce-scatter and all-gather around the ring of members, chunk by chunk; each member talks to two
// others. The fold of a shard begins at the member after its owner and ends at the owner (rotated order). *Doubling*: the
// whole vector is exchanged with a partner twice as far away each round, lower members' part first: a balanced tree in
// member order, about log2(n) rounds for any n. *Gather*: all inputs to all in ceil(log2 n) rounds, then everybody folds
// in member order (canonical). Every result is folded in one order, wherever it is folded, so all members have its bits.
//
// *Hierarchical*: the part across hosts, a ring of one member of each, which begins with what its host has folded. The others
// have empty routes.
//
// Sends to one member, and takes from one, are in the order of the lists; both ends list them alike. A send waits for
// the takes that it names, byte by byte where it is the same span. Values; rebuilt in place without allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/algo/plan.h"

namespace regroup::algo {

// How an op is carried out. Part of what members compare before anybody prepares. Values of the wire format: append only.
enum class Form : std::uint8_t {
  kDirect = 0,  // to every member its range, from every member its part (shared memory: at the waist)
  kSmall,       // all inputs to all beside their descriptors, everybody folds
  kRing,
  kDoubling,
  kGather,
  kHierarchical,  // folded on every host through shared memory, across by one member of each (its leader)
};
inline constexpr int kFormCount = 6;
[[nodiscard]] const char* name_of(Form form);
[[nodiscard]] std::optional<Form> form_named(std::string_view name);
[[nodiscard]] inline bool routed(Form form) { return form >= Form::kRing; }

enum class Area : std::uint8_t { kInput, kOutput, kScratch };
struct Place {
  Area area = Area::kInput;
  std::size_t at = 0;
  bool operator==(const Place&) const = default;
};

inline constexpr std::uint32_t kNoTake = ~std::uint32_t{0};

struct Send {
  std::uint32_t to = 0;
  Place from;
  std::size_t bytes = 0;
  // What must be made: takes [first, last). Exactly one: it is of the same span, and what is made of it may go.
  std::uint32_t first = 0, last = 0;
};

// Bytes of a member, put in their place and, if `fold`, folded there with as many of mine (`with`); from myself: a copy
// of `with`.
struct Arrival {
  std::uint32_t from = 0;
  Place to;
  std::size_t bytes = 0;
  bool fold = false;
  bool mine_first = false;          // in the order of the fold
  bool finish = false;              // the fold ends here: an average is divided
  Place with;
  std::uint32_t needs = kNoTake;    // take that makes `with`, of the same span; none: it stands
};

struct Route {
  std::vector<Send> sends;
  std::vector<Arrival> takes;
  std::size_t scratch_bytes = 0;
  std::size_t largest_bytes = 0;  // of any member's sends, the same number at all
  bool once = false;              // no member sends another one more than one of these
  // kGather: afterwards the output is made of all inputs (Plan::result), member i's of inputs[i] in scratch.
  bool gathers = false;
  std::vector<std::size_t> inputs;
};

// An op of this kind can take this form (networks). For any number of members from 2 on.
[[nodiscard]] bool has_form(Form form, const OpDesc& desc);
// Requires has_form and a routed form, and the plan of the same request.
void make_route(const Request& request, const Plan& plan, Form form, Route& route);
// For people: one line a step.
[[nodiscard]] std::string to_text(const Route& route);

}  // namespace regroup::algo

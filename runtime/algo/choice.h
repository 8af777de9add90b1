// Choice: which form of an op the members of a view take over a network. Pure: from what is the same at every member
// (the descriptor, the number of members, the group's rules, the machine's figures that the view carries), so all take the
// same one; the descriptors that are compared before anybody prepares name it all the same.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "runtime/algo/cost.h"
#include "runtime/algo/route.h"

namespace regroup::algo {

struct Rules {
  std::size_t small_bytes = 32768;  // ops up to here go in one exchange
  bool canonical = false;           // folds are in member order, whatever it costs
  std::optional<Form> form;         // asked for by name: taken by every op that can take it
  Machine machine;
  // Hybrid views only, else empty: which host each member is on, numbered by their first members.
  std::vector<std::uint32_t> hosts;
};

// The first member of each host, rising.
[[nodiscard]] std::vector<std::uint32_t> leaders_of(const std::vector<std::uint32_t>& hosts);

// The form can be taken by this op of this size. Ops without bytes and rings do not go together: nothing would come that
// has passed everybody.
[[nodiscard]] bool can_take(Form form, const OpDesc& desc, const Plan& plan, std::size_t members, const Rules& rules);
// Of the forms that the op can take, the one that is predicted to be the fastest.
[[nodiscard]] Form choose(const OpDesc& desc, const Plan& plan, std::size_t members, const Rules& rules);

// `prepared` is passed on from member to member instead of told by each to each.
[[nodiscard]] bool passes_prepared_on(std::size_t members, const Rules& rules);

}  // namespace regroup::algo

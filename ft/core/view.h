// Views and decisions: the values that the protocol agrees on. Pure values, immutable once decided.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace regroup {

// One member as the others need to know it. `address` is opaque to the core (the transports encode and read it).
// Members with the same non-zero `locality` can share memory; 0 means network only.
struct MemberInfo {
  MemberId id;
  Incarnation inc;
  std::uint64_t locality = 0;
  std::string address;
  bool operator==(const MemberInfo&) const = default;
};

// Which data plane carries the ops of a view. Chosen by the decision, so that all members agree.
// kHybrid: some members share a host, not all.
enum class PlaneKind : std::uint8_t { kShared = 0, kNetwork = 1, kHybrid = 2 };
// `asked`: the transport that was asked for, if that says which network.
[[nodiscard]] inline const char* name_of(PlaneKind plane, std::string_view asked = {}) {
  if (plane == PlaneKind::kNetwork) return asked == "ucx" ? "ucx" : asked == "nccl" ? "nccl" : "tcp";
  return plane == PlaneKind::kShared ? "shm" : "hybrid";
}

struct View {
  LogId log = 0;
  Epoch epoch = 0;
  std::vector<MemberInfo> members;  // ordered by id; the canonical order of folds

  [[nodiscard]] std::optional<std::size_t> index_of(const Incarnation& inc) const {
    for (std::size_t i = 0; i < members.size(); ++i)
      if (members[i].inc == inc) return i;
    return std::nullopt;
  }
  [[nodiscard]] std::optional<std::size_t> index_of(const MemberId& id) const {
    for (std::size_t i = 0; i < members.size(); ++i)
      if (members[i].id == id) return i;
    return std::nullopt;
  }
  [[nodiscard]] bool contains(const Incarnation& inc) const { return index_of(inc).has_value(); }
  bool operator==(const View&) const = default;
};

// An op that a decision fails at every member, whoever has submitted it yet. a and b name two members that differ (kMismatch).
struct FailedOp {
  OpId op = 0;
  Code code = Code::kCancelled;
  MemberId a, b;
  bool redone = false;  // set by the coordinator: an earlier decision redid it, so where it is a shape op that one failed it
  bool operator==(const FailedOp&) const = default;
};

// What a view change decided: the new view and the fate of every op of the old one. Durable in the view log before
// anyone hears of it (G6). Ops <= trim are committed (with the members of the old view) or failed by an earlier decision;
// ops above are redone, except: those in `failed`, and shape ops in (trim, high], which fail at everyone (G4).
struct Decision {
  View view;
  Epoch prev = 0;  // epoch that this decision ended; 0: none
  OpId trim = 0;
  OpId high = 0;
  std::vector<FailedOp> failed;     // all above trim; carried from decision to decision until trim passes them
  std::vector<Incarnation> joined;  // members of `view` that were not in the ended one
  PlaneKind plane = PlaneKind::kShared;
  bool shared_banned = false;  // a member could not map a peer's memory: network from here on
  bool planned = false;        // cut at a mark: trim ends a step
  bool founding = false;       // nobody of the view before had a part in it: the group's first view, or the first after all had gone
  std::string reason;          // for people: "dead:3", "join:2", ...

  // Nothing lies behind it: no state to hold, no step. Not so where all members are new, but took over the state of those who
  // left as they entered.
  [[nodiscard]] bool founds() const { return founding; }
  [[nodiscard]] const FailedOp* failure_of(OpId op) const {
    auto it = std::find_if(failed.begin(), failed.end(), [op](const FailedOp& f) { return f.op == op; });
    return it == failed.end() ? nullptr : &*it;
  }
  bool operator==(const Decision&) const = default;
};

}  // namespace regroup

// What the planes that carry ops out on devices have in common.
#pragma once

#include <algorithm>
#include <optional>

#include "regroup/types.h"
#include "runtime/exec/plane.h"

namespace regroup::device_detail {

// Whether a device carries it out, where all have it there. The same at every member.
inline bool takes(const OpDesc& desc) {
  return desc.kind != OpKind::kBarrier && !desc.told() && desc.kind != OpKind::kAllGatherV && desc.kind != OpKind::kReduceScatterV &&
         !desc.scaled() && desc.count != 0;
}

// Index of the op's root, 0 where it has none. Nothing: it is not in the view.
inline std::optional<std::size_t> root_of(const OpDesc& desc, const ViewInfo& view) {
  if (!desc.rooted()) return 0;
  const auto root = std::find_if(view.members.begin(), view.members.end(), [&](const MemberId& m) { return m.replica == desc.root; });
  if (root == view.members.end()) return std::nullopt;
  return static_cast<std::size_t>(root - view.members.begin());
}

inline RunResult lost(const Error& why) {
  RunResult result(RunState::kLost);
  result.detail = why.detail;
  return result;
}

}  // namespace regroup::device_detail

// Split: makes sub-groups of a group. Each is an ordinary Group of its own (views, failures, op numbers), joined under
// a name that all members derive alike, at the coordinator of the group that is split.
//
// Two all-gathers of the parent frame it. The first says who wants which colour, so that all agree on every sub-group's
// members, order and name. The second says whether everybody has joined: after it either all members have their
// sub-group or none has. Both are shape ops that name the same epoch, so a change of the parent's view in between fails
// the second at everybody. The first is never a mark: no joiner of the parent can begin between the two.
// Ownership: a sub-group refers to nothing of its parent. Threading: the thread that submits.
#pragma once

#include <functional>
#include <memory>

#include "runtime/api/group_impl.h"

namespace regroup {

// nullptr: of no colour.
Result<std::shared_ptr<GroupImpl>> split_group(GroupImpl& parent, int color, int key,
                                               const std::function<void(Options&)>& configure);

}  // namespace regroup

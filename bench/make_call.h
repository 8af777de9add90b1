// The call of a row for the members of a view, in a rank's buffers. Pure.
#pragma once

#include "bench/arguments.h"
#include "bench/buffers.h"
#include "bench/collective.h"
#include "bench/rows.h"

namespace regroup::bench {

// `view` must outlive the call. A root that is not in the view is replaced by its first member.
Call make_call(const Collective& collective, const Arguments& arguments, const RowSpec& row, Group& group,
               const ViewInfo& view, const Buffers& buffers, bool in_place);

// Bytes as the table shows them: the longer of input and output.
std::size_t shown_bytes(const Collective& collective, std::size_t count, DataType type, std::size_t ranks);

}  // namespace regroup::bench

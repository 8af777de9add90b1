#include "bench/make_call.h"

#include <algorithm>

#include "bench/check.h"
#include "bench/data.h"

namespace regroup::bench {

Call make_call(const Collective& collective, const Arguments& arguments, const RowSpec& row, Group& group,
               const ViewInfo& view, const Buffers& buffers, bool in_place) {
  const std::size_t unit = size_of(row.type);
  const std::size_t shift = static_cast<std::size_t>(arguments.unalign) * unit;
  Call call;
  call.group = &group;
  call.view = &view;
  call.count = collective.count(row.bytes / unit, unit, view.size());
  call.type = row.type;
  call.op = row.op;
  call.output_scratch = arguments.output_scratch;
  call.side = buffers.side();
  if (call.op.scaled) call.scalar = scalar_element(call.type, view.members[view.self].replica);
  const Shape shape = collective.shape(call.count, view.size(), view.self);
  char* out = static_cast<char*>(buffers.out()) + shift;
  call.in = in_place ? out + shape.in_at * unit : static_cast<char*>(buffers.in()) + shift;
  call.out = in_place ? out + shape.out_at * unit : out;
  call.root = {static_cast<std::uint32_t>(std::max(row.root, 0)), 0};
  if (position_of(view, call.root) == view.size()) call.root = view.members.front();
  return call;
}

std::size_t shown_bytes(const Collective& collective, std::size_t count, DataType type, std::size_t ranks) {
  const Shape shape = collective.shape(count, ranks, 0);
  return std::max(shape.in, shape.out) * size_of(type);
}

}  // namespace regroup::bench

#include "bench/rows.h"

#include <algorithm>

namespace regroup::bench {

std::vector<RowSpec> rows_of(const Collective& collective, const Arguments& a, std::size_t ranks) {
  std::vector<int> roots = {collective.rooted ? a.root : -1};
  if (collective.rooted && a.root < 0) {
    roots.clear();
    for (std::size_t r = 0; r < ranks; ++r) roots.push_back(static_cast<int>(r));
  }
  std::vector<RowSpec> out;
  for (DataType type : a.types) {
    for (Reduction op : collective.reduces ? a.ops : std::vector<Reduction>{{}}) {
      for (int root : roots) {
        for (std::size_t bytes : sizes_of(a, type)) out.push_back({bytes, type, op, root});
      }
    }
  }
  return out;
}

std::vector<std::size_t> sizes_of(const Arguments& a, DataType type) {
  std::vector<std::size_t> out;
  const std::size_t unit = size_of(type);
  double size = static_cast<double>(a.min_bytes);
  while (size <= static_cast<double>(a.max_bytes)) {
    const std::size_t whole = std::max(static_cast<std::size_t>(size) / unit * unit, unit);
    if (out.empty() || out.back() != whole) out.push_back(whole);
    const double next =
        a.step_factor > 1 ? std::max(size, 1.0) * a.step_factor : size + static_cast<double>(a.step_bytes);
    if (next <= size) break;
    size = next;
  }
  return out;
}

Where where_of(const Arguments& a) {
  if (!a.device.empty()) return Where::kDevice;
  return a.registered ? Where::kRegistered : Where::kPrivate;
}

BufferBytes buffer_bytes(const Collective& collective, const Arguments& a, std::size_t ranks, std::size_t least) {
  BufferBytes out;
  for (DataType type : a.types) {
    const std::size_t unit = size_of(type);
    const std::size_t shift = static_cast<std::size_t>(a.unalign) * unit;
    for (std::size_t n = least; n <= ranks; ++n) {
      const Shape shape = collective.shape(collective.count(sizes_of(a, type).back() / unit, unit, n), n, 0);
      out.in = std::max(out.in, shape.in * unit + shift);
      out.out = std::max(out.out, std::max(shape.in, shape.out) * unit + shift);
    }
  }
  return out;
}

}  // namespace regroup::bench

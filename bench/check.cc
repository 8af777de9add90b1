#include "bench/check.h"

#include <algorithm>

namespace regroup::bench {

std::vector<std::uint32_t> ranks_of(const ViewInfo& view) {
  std::vector<std::uint32_t> out;
  for (const MemberId& id : view.members) out.push_back(id.replica);
  return out;
}

std::size_t position_of(const ViewInfo& view, MemberId member) {
  return static_cast<std::size_t>(std::find(view.members.begin(), view.members.end(), member) - view.members.begin());
}

std::uint64_t wrong_elements(const Collective& collective, const Pattern& pattern, const Viewer& viewer,
                             const void* out, std::size_t count) {
  std::uint64_t wrong = 0;
  Pattern copied = pattern;
  if (!collective.reduces) copied.op = {};
  for (const Part& part : collective.parts(count, viewer.ranks.size(), viewer.self, viewer.root)) {
    const void* at = static_cast<const char*>(out) + part.out_at * size_of(pattern.type);
    const auto from = part.from == Part::kFold ? viewer.ranks : viewer.ranks.subspan(part.from, 1);
    wrong += count_wrong(copied, from, at, part.count, part.in_at);
  }
  return wrong;
}

}  // namespace regroup::bench

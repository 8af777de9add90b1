// Input and right output of a collective: the bitwise check of the *_perf programs. Pure; buffers are the caller's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bench/collective.h"
#include "bench/data.h"

namespace regroup::bench {

// Ranks of the members of a view, by position.
std::vector<std::uint32_t> ranks_of(const ViewInfo& view);

// Who looks: a position in a view whose members have these ranks.
struct Viewer {
  std::span<const std::uint32_t> ranks;
  std::size_t self = 0;
  std::size_t root = 0;
};

// Elements of `out` that are not, bit for bit, what the members' inputs give.
std::uint64_t wrong_elements(const Collective& collective, const Pattern& pattern, const Viewer& viewer,
                             const void* out, std::size_t count);

// Position of a member in a view; the view's size: it is not there.
std::size_t position_of(const ViewInfo& view, MemberId member);

}  // namespace regroup::bench

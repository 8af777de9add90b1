// The rows of a run, and the buffers that they need. Pure.
#pragma once

#include <cstddef>
#include <vector>

#include "bench/arguments.h"
#include "bench/buffers.h"
#include "bench/collective.h"

namespace regroup::bench {

struct RowSpec {
  std::size_t bytes = 0;  // as asked for; the table shows what the collective makes of it
  DataType type = DataType::kF32;
  Reduction op;
  int root = -1;  // -1: the collective has none
};

// One cycle, in the order of the table: by type, operation, root, size.
std::vector<RowSpec> rows_of(const Collective& collective, const Arguments& arguments, std::size_t ranks);

// The sizes from min to max, each rounded down to whole elements of `type` (at least one).
std::vector<std::size_t> sizes_of(const Arguments& arguments, DataType type);

// The longest input and output buffer of any row with `least` to `ranks` members (fewer members have longer blocks);
// the output also serves in-place calls.
struct BufferBytes {
  std::size_t in = 0;
  std::size_t out = 0;
};
BufferBytes buffer_bytes(const Collective& collective, const Arguments& arguments, std::size_t ranks,
                         std::size_t least);

// --device, --registered, or neither.
[[nodiscard]] Where where_of(const Arguments& arguments);

}  // namespace regroup::bench

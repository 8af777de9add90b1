// What a *_perf program says about its collective; the driver does the rest. One small file per collective, in
// bench/collectives. Values and pure functions; `start` and `run` are of the thread that submits.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "bench/device_side.h"
#include "bench/reduction.h"
#include "regroup/regroup.h"

namespace regroup::bench {

// One call. Positions are indices into the members of `view`; they equal ranks while all are there.
struct Call {
  Group* group = nullptr;
  const ViewInfo* view = nullptr;
  const void* in = nullptr;
  void* out = nullptr;
  std::size_t count = 0;  // elements, as nccl-tests counts them for this collective
  DataType type = DataType::kF32;
  Reduction op;
  std::array<std::byte, 8> scalar{};  // of a pre-multiplied sum: this member's
  MemberId root;                      // rooted collectives
  bool output_scratch = false;        // the output may be written before the commit
  std::size_t cut_bytes = 0;          // above 0: the runtime cuts the call
  DeviceSide* side = nullptr;         // of buffers on a device; null: they are host memory
  // Where the host fills and checks a place in the buffers.
  [[nodiscard]] void* here(const void* at) const { return side == nullptr ? const_cast<void*>(at) : side->here(at); }
  [[nodiscard]] OpOptions options() const {
    OpOptions out;
    if (op.scaled) out.premultiply = scalar.data();
    out.output_scratch = output_scratch;
    out.cut_bytes = cut_bytes;
    if (side != nullptr) out.stream = side->native();
    return out;
  }
};

// One member's buffers for `count`, in elements.
struct Shape {
  std::size_t in = 0;
  std::size_t out = 0;
  // In place there is one buffer as long as the longer of the two: where input and output begin in it.
  std::size_t in_at = 0;
  std::size_t out_at = 0;
};

// A part of one member's right output: elements `in_at` and on of the input of the member at position `from`, or of
// the fold over everybody's inputs.
struct Part {
  static constexpr std::size_t kFold = ~std::size_t{0};
  std::size_t out_at = 0;
  std::size_t count = 0;
  std::size_t in_at = 0;
  std::size_t from = kFold;
};

struct Collective {
  const char* program;  // "all_reduce_perf"
  bool reduces;         // has a reduction: -o counts
  bool rooted;          // has a root: -r counts
  bool cuttable;        // element by element: a range of it is the same collective, so --cut has a meaning
  bool cut_inside = false;  // and the runtime does so (OpOptions::cut_bytes)
  bool bounded_by_copies = false;  // the traffic bounds of bench/roofline.h are its
  // The count for `elements` of the table's size, as nccl-tests rounds it.
  std::size_t (*count)(std::size_t elements, std::size_t type_size, std::size_t ranks);
  Shape (*shape)(std::size_t count, std::size_t ranks, std::size_t self);
  double (*bus_factor)(std::size_t ranks);
  // The right output at position `self`; empty where the member takes nothing.
  std::vector<Part> (*parts)(std::size_t count, std::size_t ranks, std::size_t self, std::size_t root);
  Result<Outcome> (*run)(const Call& call);
  Work (*start)(const Call& call);
};

// All of them, in the order of nccl-tests' programs; by "all_reduce_perf" or "all_reduce", nullptr: there is none.
std::span<const Collective* const> all_collectives();
const Collective* find_collective(std::string_view name);

}  // namespace regroup::bench

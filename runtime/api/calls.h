// Calls: what a caller of the public API asked for, checked and turned into an op. Pure but for the view it is given, and a look
// at whether the host can read what is given.
// kInvalid: an argument makes no sense; nothing was submitted.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "regroup/types.h"
#include "runtime/exec/plane.h"

namespace regroup::calls {

using Counts = std::span<const std::size_t>;

// What a call is made in.
struct Site {
  std::shared_ptr<const ViewInfo> view;  // the installed one; a group that was joined has one
  bool explicit_marks = false;
  Epoch seen_epoch = 0;
  std::uint32_t world_size = 0;
};

// One block a member; count in elements. `in_blocks`, `out_blocks`: how many the two buffers hold here; 0: not looked
// at.
struct Uniform {
  OpKind kind;
  const void* in;
  void* out;
  std::size_t count;
  DataType type;
  ReduceOp op = ReduceOp::kSum;
  MemberId root = {};
};
Result<ExecOp> make(const Site& site, const Uniform& call, const OpOptions& options);

// The ops that a call is carried out as: itself, or its pieces (OpOptions::cut_bytes). kInvalid: it cannot be cut.
Result<std::vector<ExecOp>> cut(ExecOp whole, const OpOptions& options);

// One table, the same at every member.
struct Agreed {
  OpKind kind;
  const void* in;
  void* out;
  Counts counts;
  DataType type;
  ReduceOp op = ReduceOp::kSum;
};
Result<ExecOp> make(const Site& site, const Agreed& call, const OpOptions& options);

// Blocks by member: `counts` elements each, the first at `at` (empty: packed).
struct Blocks {
  Counts counts;
  Counts at;
};
struct Told {
  OpKind kind;
  const void* in;
  Blocks give;
  void* out;
  Blocks take;
  DataType type;
  MemberId root = {};
};
Result<ExecOp> make(const Site& site, const Told& call, const OpOptions& options);

// One block to a member, one from a member; a count of 0: none, and the member is not looked at.
struct Pair {
  const void* in;
  std::size_t in_count;
  MemberId to;
  void* out;
  std::size_t out_count;
  MemberId from;
  DataType type;
};
Result<ExecOp> make(const Site& site, const Pair& call, const OpOptions& options);

// A message to or from one member: only the two call.
struct Message {
  bool send;
  const void* in;
  void* out;
  std::size_t count;
  DataType type;
  MemberId peer;
};
Result<ExecOp> make(const Site& site, const Message& call, const OpOptions& options);

// What of the two buffers a call reads and writes here; none of it is empty. kInvalid: a count is over the bound, a table
// does not fit the view; a call that make() takes has none of these.
struct Touched {
  std::vector<algo::Span> in, out;
};
Result<Touched> touched(const Site& site, const Uniform& call);
Result<Touched> touched(const Site& site, const Agreed& call);
Result<Touched> touched(const Site& site, const Told& call);
Result<Touched> touched(const Site& site, const Pair& call);
Result<Touched> touched(const Site& site, const Message& call);

}  // namespace regroup::calls

// Small ops of ShmPlane: inputs beside the flag, or in a block of the words page; one exchange.
#include <algorithm>
#include <cstring>

#include "kernels/kernels.h"
#include "runtime/exec/shm_common.h"

namespace regroup {

using namespace shm_detail;  // NOLINT: a room of its own

// My input beside the flag, or in the block of this op.
void ShmPlane::publish_small(const Active& a, const ExecOp& op) {
  const std::size_t bytes = a.plan.input_bytes;
  const bool inlined = a.plan.largest_bytes <= shm::kInlineBytes;
  std::byte line[shm::kInlineBytes];
  std::byte* to = inlined ? line : domain_.words().block(op.id);
  if (bytes != 0 && op.desc.scaled())
    kernels::scale(op.desc.type, to, op.in, op.scalar.data(), bytes / size_of(op.desc.type));
  else if (bytes != 0)
    std::memcpy(to, op.in, bytes);
  publish_line(op, line, inlined ? bytes : 0);
}

RunResult ShmPlane::run_small(Active& a, ExecOp& op, ExecContext& context) {
  op.plan = "small";
  const std::size_t n = peers_.size();
  const bool inlined = a.plan.largest_bytes <= shm::kInlineBytes;
  if (op.progress.stage == kStart) {
    publish_small(a, op);
    op.progress.stage = kPublished;
    context.failpoints->hit(Point::kAfterFirstChunk);
    if (context.should_stop()) return RunState::kStopped;
  }
  const shm::Tag tag = shm::make_tag(epoch_, op.id);
  for (std::size_t i = 0; i < n; ++i) {
    const shm::OpLine& line = peers_[i].page->line(op.id);
    if (i != self_) {
      if (!wait_word(line.ready, true, tag, context)) return RunState::kStopped;
      if (!same_desc(line.desc, op.desc)) return mismatch(i, line.desc, op.desc);
    }
    a.inputs[i] = inlined ? line.body : peers_[i].page->block(op.id);
  }
  make_small(a, op);
  if (auto peer = withdrawn_peer()) return broken(*peer, "withdrawn", false);
  op.progress.stage = kDone;
  return RunState::kPrepared;
}

// My whole output from everybody's line or block.
void ShmPlane::make_small(Active& a, const ExecOp& op) {
  for (const algo::Piece& piece : a.plan.result) {
    if (piece.bytes == 0) continue;
    std::byte* to = a.result.data() + piece.to;
    if (!piece.fold) {
      std::memcpy(to, static_cast<const std::byte*>(a.inputs[piece.from]) + piece.at, piece.bytes);
      continue;
    }
    for (std::size_t i = 0; i < sources_.size(); ++i)
      sources_[i] = static_cast<const std::byte*>(a.inputs[i]) + piece.at;
    kernels::reduce(op.desc.type, op.desc.reduce, to, sources_, piece.bytes / size_of(op.desc.type));
  }
}

}  // namespace regroup

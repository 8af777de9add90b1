// Calls that are cut (OpOptions::cut_bytes): a run of ops, one handle.
#include "runtime/api/group_impl.h"

namespace regroup {
namespace {

// Whether the member is as before, so that the pieces behind this one are submitted all the same: the others do so too.
bool goes_on(Code code) {
  return code == Code::kOk || code == Code::kViewChanged || code == Code::kMismatch || code == Code::kCancelled ||
         code == Code::kNoMemory;
}

// All pieces of one call, as far as they have ended.
class Pieces {
 public:
  void add(const ExecOp& piece, const Result<Outcome>& result) {
    const std::size_t bytes = piece.desc.bytes();
    if (result.ok()) {
      attempts_ = std::max(attempts_, result->attempts);
      last_ = *result;
      last_.pieces.clear();
      done_.push_back({at_, bytes, result->op, result->view});
    } else if (!failed_) {
      failed_ = Error{result.code(), "bytes " + std::to_string(at_) + " to " + std::to_string(at_ + bytes) + " of a cut call: " +
                                         result.error().detail};
    }
    at_ += bytes;
  }
  // The outcome of the last piece with all of them, or the first error.
  Result<Outcome> outcome() {
    if (failed_) {
      failed_->detail += "; committed: " + std::to_string(done_.size()) + " pieces";
      for (const OutcomePiece& p : done_) failed_->detail += " " + std::to_string(p.at) + "+" + std::to_string(p.bytes);
      return *failed_;
    }
    last_.attempts = attempts_;
    last_.pieces = std::move(done_);
    return std::move(last_);
  }

 private:
  std::size_t at_ = 0;
  std::uint32_t attempts_ = 1;
  std::vector<OutcomePiece> done_;
  Outcome last_;
  std::optional<Error> failed_;
};

}  // namespace

Result<Outcome> GroupImpl::run_cut(ExecOp whole, const OpOptions& options) {
  Result<std::vector<ExecOp>> ops = calls::cut(std::move(whole), options);
  if (!ops) return ops.error();
  const Instant until = deadline(options.timeout_s);
  Pieces pieces;
  for (const ExecOp& op : *ops) {
    const Result<Outcome> result = engine_.execute(ExecOp(op), until);
    pieces.add(op, result);
    if (!goes_on(result.code())) break;
  }
  return seen(pieces.outcome());
}

OpPtr GroupImpl::start_cut(ExecOp whole, const OpOptions& options) {
  auto call = std::make_shared<OpState>();
  Result<std::vector<ExecOp>> ops = calls::cut(std::move(whole), options);
  if (!ops) {
    call->result = ops.error();
    call->done.store(1);
    return call;
  }
  for (ExecOp& op : *ops) call->pieces.push_back(start(std::move(op), {}));
  return call;
}

Result<Outcome> GroupImpl::wait(const OpPtr& op, double timeout_s) {
  const Instant until = deadline(timeout_s);
  if (op->pieces.empty()) return seen(engine_.wait(op, until));
  Pieces pieces;
  for (const OpPtr& piece : op->pieces) {
    const Result<Outcome> result = engine_.wait(piece, until);
    if (result.code() == Code::kTimeout) return seen(result);  // wait again
    pieces.add(piece->exec, result);
  }
  return seen(pieces.outcome());
}

}  // namespace regroup

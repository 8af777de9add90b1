// RegroupWork: ops and messages of one call, waited for, expired, told to a future.
#include <torch/csrc/distributed/c10d/exception.h>

#include "python/adapter/backend.h"

namespace regroup::python {

using Clock = std::chrono::steady_clock;
void (*check_interrupt)() = [] {};

namespace {

constexpr auto kSlice = Millis(100);

std::exception_ptr error_of(const Status& status, c10d::OpType type) {
  const std::string text =
      "regroup " + c10d::opTypeToString(type) + ": " + status.error().detail + " (" + code_name(status.code()) + ")";
  const c10::SourceLocation here{__func__, __FILE__, __LINE__};
  if (status.code() == Code::kInvalid) return std::make_exception_ptr(c10::ValueError(here, text));
  return std::make_exception_ptr(c10::DistBackendError(here, text));
}

}  // namespace

RegroupWork::RegroupWork(int rank, c10d::OpType type, const char* title, const Tensors& inputs, Tensors outputs,
                         Millis timeout, std::uint64_t sequence)
    : Work(rank, type, title, title ? std::optional<std::vector<at::Tensor>>(inputs) : std::nullopt),
      outputs_(std::move(outputs)),
      deadline_(Clock::now() + timeout),
      sequence_(sequence) {}

RegroupWork::~RegroupWork() {
  // A receiver that nobody holds takes no message; ops go on by themselves and keep their tensors.
  for (const MessagePtr& m : parts)
    if (!m->send && !m->done && messages) messages->give_up(m);
}

bool RegroupWork::run(Time until) {
  bool all = true;
  for (const StreamOpPtr& op : ops) all = (until == Time{} ? stream->poll(op) : stream->wait(op, until)) && all;
  for (const MessagePtr& m : parts) all = messages->wait(m, until) && all;
  return all;
}

void RegroupWork::settle() {
  if (settled_.exchange(true)) return;
  std::exception_ptr error;
  for (const StreamOpPtr& op : ops)
    if (!error && !op->status.ok()) error = error_of(op->status, opType_);
  for (const MessagePtr& m : parts)
    if (!error && !m->status.ok()) error = error_of(m->status, opType_);
  finish(error);
  complete_future();
}

bool RegroupWork::isCompleted() {
  if (!settled_ && run({})) settle();
  return Work::isCompleted();
}

bool RegroupWork::isSuccess() const { return Work::isSuccess(); }

bool RegroupWork::wait(Millis timeout) {
  const Time until = timeout == kNoTimeout ? deadline_ : Clock::now() + timeout;
  while (!Work::isCompleted()) {
    const Time now = Clock::now();
    if (run(std::min(until, now + kSlice))) {
      settle();
      continue;
    }
    check_interrupt();
    if (Clock::now() < until) continue;
    for (const StreamOpPtr& op : ops) stream->expire(op);
    for (const MessagePtr& m : parts)
      if (!m->done) {
        messages->give_up(m);
        m->status = {Code::kTimeout, "nothing came from, or was taken by, the other rank"};
      }
    for (const StreamOpPtr& op : ops)
      if (op->status.code() == Code::kCancelled || op->status.code() == Code::kTimeout)
        op->status = {Code::kTimeout, "Timed out waiting for the other ranks"};
    settle();
  }
  std::exception_ptr error = exception();
  if (error) std::rethrow_exception(error);
  return true;
}

void RegroupWork::abort() {
  for (const StreamOpPtr& op : ops) stream->expire(op);
}

int RegroupWork::sourceRank() const {
  TORCH_CHECK(parts.size() == 1 && !parts[0]->send, "sourceRank() is for works of recv");
  return parts[0]->source;
}

c10::intrusive_ptr<c10::ivalue::Future> RegroupWork::getFuture() {
  {
    std::lock_guard lock(future_mutex_);
    if (future_) return future_;
    future_ = c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()));
  }
  if (isCompleted()) {
    complete_future();
  } else if (!ops.empty() && parts.empty()) {
    auto self = c10::intrusive_ptr<RegroupWork>::unsafe_reclaim_from_nonowning(this);
    stream->watch(ops.back(), [self] {
      for (const StreamOpPtr& op : self->ops)
        if (!self->stream->wait(op, op->deadline)) self->stream->expire(op);
      self->settle();
    });
  } else {
    auto self = c10::intrusive_ptr<RegroupWork>::unsafe_reclaim_from_nonowning(this);
    std::thread([self] {
      try {
        self->wait(kNoTimeout);
      } catch (...) {  // the future has it
      }
    }).detach();
  }
  return future_;
}

void RegroupWork::complete_future() {
  c10::intrusive_ptr<c10::ivalue::Future> future;
  {
    std::lock_guard lock(future_mutex_);
    future = future_;
  }
  if (!future || future->completed() || !Work::isCompleted()) return;
  if (std::exception_ptr error = exception()) {
    future->setErrorIfNeeded(error);
  } else {
    future->markCompleted(c10::IValue(outputs_));
  }
}

}  // namespace regroup::python

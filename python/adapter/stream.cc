#include "python/adapter/stream.h"

#include <algorithm>

namespace regroup::python {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSlice = std::chrono::milliseconds(100);

bool has(const ViewInfo& view, int rank) {
  return std::any_of(view.members.begin(), view.members.end(),
                     [&](MemberId m) { return static_cast<int>(m.replica) == rank; });
}

Status lost_root(int root) {
  return {Code::kViewChanged, "the root, rank " + std::to_string(root) + ", is not in the group any more"};
}

// The outcome is the same at all members, so all fail.
Status missing(const Outcome& outcome, int size) {
  if (static_cast<int>(outcome.view->size()) == size) return {};
  std::string ranks;
  for (int rank = 0; rank < size; ++rank)
    if (!has(*outcome.view, rank)) ranks += (ranks.empty() ? "" : ", ") + std::to_string(rank);
  return {Code::kViewChanged, "rank " + ranks + " is lost, and with it a part of the result that nobody else has"};
}

}  // namespace

Stream::Stream(std::shared_ptr<Group> group) : group_(std::move(group)) {
  for (const MemberId m : group_->view().members) contributors_.push_back(static_cast<int>(m.replica));
}

Stream::~Stream() { close(); }

void Stream::start(StreamOp& op) {
  op.started = true;
  if (!op.shape && op.root < 0) {
    op.work = op.submit(*group_, {}, op.how);
    return;
  }
  const ViewInfo view = group_->view();
  if (op.root >= 0 && !has(view, op.root)) {
    op.status = lost_root(op.root);
    return;
  }
  op.work = op.submit(*group_, view, op.how);
}

void Stream::start_ready() {
  for (const StreamOpPtr& op : queue_) {
    if (!op->started) start(*op);
    if (op->shape) return;
  }
}

void Stream::push(const StreamOpPtr& op) {
  std::lock_guard lock(mutex_);
  if (closed_) {
    op->status = {Code::kClosed, "the process group was shut down or aborted"};
    op->done.store(true, std::memory_order_release);
    return;
  }
  const bool held =
      !queue_.empty() && std::any_of(queue_.begin(), queue_.end(), [](const auto& o) { return o->shape; });
  queue_.push_back(op);
  if (!held) start(*op);
}

void Stream::settle(const StreamOpPtr& op, const Result<Outcome>& result) {
  if (result.ok() && op->whole) op->status = missing(*result, group_->options().world_size);
  if (result.ok()) {
    last_op_ = result->op;
    if (result->view != contributors_of_) {
      contributors_of_ = result->view;
      contributors_.clear();
      for (const MemberId m : result->view->members) contributors_.push_back(static_cast<int>(m.replica));
    }
    try {
      if (op->finish) op->finish(*result);
      if (op->after && op->status.ok()) op->after();
    } catch (const std::exception& e) {  // nobody here to throw to
      op->status = {Code::kInvalid, std::string("the result cannot be put where it belongs: ") + e.what()};
    }
  } else if (op->status.ok()) {
    const bool root = op->root >= 0 && result.code() == Code::kViewChanged;
    op->status = root ? lost_root(op->root) : Status(result.error());
  }
  if (!op->status.ok()) last_error_ = op->status.code();
  std::erase(queue_, op);
  op->submit = nullptr;
  op->finish = nullptr;
  op->after = nullptr;
  op->done.store(true, std::memory_order_release);
}

// I drive; mutex_ is not held.
bool Stream::drive(const StreamOpPtr& target, Time until) {
  while (!target->done.load(std::memory_order_acquire)) {
    StreamOpPtr front;
    {
      std::lock_guard lock(mutex_);
      if (queue_.empty()) return target->done;
      front = queue_.front();
      if (!front->started) start(*front);
    }
    Result<Outcome> result(Code::kTimeout, "");
    if (front->status.ok()) {
      const double left = std::chrono::duration<double>(until - Clock::now()).count();
      if (front->work.done() || left > 0) result = front->work.wait(std::max(left, 1e-6));
      if (!result.ok() && result.code() == Code::kTimeout) return false;
    } else {
      result = front->status.error();
    }
    std::lock_guard lock(mutex_);
    if (!result.ok() && result.code() == Code::kViewChanged && front->shape && front->status.ok() && !closed_) {
      start(*front);
      continue;
    }
    settle(front, result);
    start_ready();
    changed_.notify_all();
  }
  return true;
}

bool Stream::wait(const StreamOpPtr& op, Time until) {
  while (!op->done.load(std::memory_order_acquire)) {
    {
      std::unique_lock lock(mutex_);
      if (driving_) {
        if (Clock::now() >= until) return op->done;
        changed_.wait_until(lock, std::min(until, Clock::now() + kSlice), [&] { return op->done || !driving_; });
        continue;
      }
      driving_ = true;
    }
    const bool done = drive(op, until);
    {
      std::lock_guard lock(mutex_);
      driving_ = false;
    }
    changed_.notify_all();
    if (!done && Clock::now() >= until) return op->done;
  }
  return true;
}

void Stream::expire(const StreamOpPtr& op) {
  {
    std::lock_guard lock(mutex_);
    if (op->done) return;
    if (op->started) op->work.cancel();
  }
  if (op->started) wait(op, Clock::now() + std::chrono::seconds(2));
  std::lock_guard lock(mutex_);
  if (op->done) return;
  if (op->started) still_pending_.push_back(op->submit);  // it may still happen: what it refers to stays
  settle(op, Result<Outcome>(Code::kTimeout, "the others have not come"));
}

void Stream::watch(const StreamOpPtr& op, std::function<void()> then) {
  std::lock_guard lock(watch_mutex_);
  watches_.emplace_back(op, std::move(then));
  if (!worker_.joinable()) worker_ = std::thread([this] { work_loop(); });
  watched_.notify_one();
}

void Stream::work_loop() {
  std::unique_lock lock(watch_mutex_);
  while (true) {
    watched_.wait(lock, [&] { return !watches_.empty() || closed_; });
    if (watches_.empty()) return;
    auto [op, then] = std::move(watches_.front());
    watches_.pop_front();
    lock.unlock();
    if (!wait(op, op->deadline)) expire(op);
    then();
    lock.lock();
  }
}

std::vector<int> Stream::contributors() const {
  std::lock_guard lock(mutex_);
  return contributors_;
}

void Stream::close() {
  closed_ = true;
  group_->detach();  // what is pending ends with kClosed
  {
    std::lock_guard lock(watch_mutex_);
    watched_.notify_all();
  }
  if (worker_.joinable() && worker_.get_id() != std::this_thread::get_id()) worker_.join();
}

}  // namespace regroup::python

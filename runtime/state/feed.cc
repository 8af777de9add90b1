#include "runtime/state/feed.h"

#include <chrono>

namespace regroup::state {

void Feed::publish(Entry entry, std::span<const std::byte> data) {
  std::lock_guard lock(mutex_);
  if (entry.op <= last_) return;
  if (entry.op != last_ + 1) ring_.clear(), bytes_ = 0;  // a life was left out
  last_ = entry.op;
  if (entry.mark) last_mark_ = entry.op;
  if (subscribers_ == 0) return;
  auto kept = std::make_shared<Entry>(std::move(entry));
  kept->data = std::move(spare_);
  kept->data.assign(data.begin(), data.end());
  bytes_ += data.size();
  ring_.push_back(std::move(kept));
  while (bytes_ > bound_bytes_ && ring_.size() > 1) {
    bytes_ -= ring_.front()->data.size();
    if (ring_.front().use_count() == 1) spare_ = std::move(const_cast<Entry&>(*ring_.front()).data);
    ring_.pop_front();
  }
  news_.notify_all();
}

void Feed::begin(OpId op) {
  std::lock_guard lock(mutex_);
  ring_.clear();
  bytes_ = 0;
  last_ = last_mark_ = op;
}

OpId Feed::last_mark() const {
  std::lock_guard lock(mutex_);
  return last_mark_;
}

OpId Feed::subscribe() {
  std::lock_guard lock(mutex_);
  ++subscribers_;
  return last_;
}

void Feed::unsubscribe() {
  std::lock_guard lock(mutex_);
  if (--subscribers_ > 0) return;
  ring_.clear();
  spare_ = {};
  bytes_ = 0;
}

Feed::Next Feed::next(OpId op, Duration wait, std::shared_ptr<const Entry>& out) {
  std::unique_lock lock(mutex_);
  if (op > last_) news_.wait_for(lock, std::chrono::nanoseconds(wait.ns), [&] { return op <= last_; });
  if (op > last_) return Next::kNotYet;
  if (ring_.empty() || op < ring_.front()->op) return Next::kGap;
  out = ring_[op - ring_.front()->op];
  return Next::kOk;
}

OpId Feed::first() const {
  std::lock_guard lock(mutex_);
  return ring_.empty() ? last_ + 1 : ring_.front()->op;
}

}  // namespace regroup::state

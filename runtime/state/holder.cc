#include "runtime/state/holder.h"

#include <algorithm>
#include <chrono>

#include "base/clock.h"

namespace regroup::state {

StripeTable table_of(std::span<const StateBuffer> state) {
  std::vector<Tensor> tensors;
  for (const StateBuffer& b : state) tensors.push_back({b.name, b.type, b.shape, b.bytes});
  return StripeTable(std::move(tensors));
}

Holder::Holder(Config config) : config_(std::move(config)), table_(table_of(config_.state)), feed_(config_.feed_bytes) {}

void Holder::begin_update(std::span<const StateRange> ranges) {
  std::vector<std::shared_ptr<Snapshot>> live;
  {
    std::lock_guard lock(mutex_);
    updating_ = true;
    update_bytes_ = ranges.empty() ? table_.bytes() : 0;
    for (const StateRange& r : ranges) update_bytes_ += r.bytes;
    std::erase_if(snapshots_, [](const auto& weak) { return weak.expired(); });
    for (const auto& weak : snapshots_)
      if (auto snapshot = weak.lock()) live.push_back(std::move(snapshot));
  }
  for (const auto& snapshot : live) {
    if (ranges.empty()) snapshot->before_update({0, table_.size()});
    for (const StateRange& r : ranges)
      snapshot->before_update(table_.overlapping(static_cast<std::uint32_t>(r.buffer), r.offset, r.bytes));
  }
}

void Holder::end_update(std::uint64_t step, OpId op) {
  if (const OpId mark = feed_.last_mark(); mark != 0) op = std::min(op, mark);
  bool save = false;
  {
    std::lock_guard lock(mutex_);
    save = !config_.blobs.empty() && awaited_.contains(step);
  }
  std::vector<std::vector<std::byte>> blobs;
  if (save)
    for (const StateBlob& blob : config_.blobs) blobs.push_back(blob.save());
  {
    std::lock_guard lock(mutex_);
    updating_ = hidden_ = false;
    version_ = {true, step, op};
    if (save) blobs_ = std::move(blobs), blobs_step_ = step;
  }
  reached_.notify_all();
}

Holder::Version Holder::version() const {
  std::lock_guard lock(mutex_);
  return hidden_ ? Version{} : version_;
}

Holder::Version Holder::own() const {
  std::lock_guard lock(mutex_);
  return updating_ ? Version{} : version_;
}

bool Holder::updating() const {
  std::lock_guard lock(mutex_);
  return updating_;
}

bool Holder::awaited(std::uint64_t step) const {
  std::lock_guard lock(mutex_);
  return awaited_.contains(step);
}

std::size_t Holder::serving() const {
  std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::count_if(snapshots_.begin(), snapshots_.end(), [](const auto& weak) {
    const auto snapshot = weak.lock();
    return snapshot && !snapshot->over();
  }));
}

void Holder::hide() {
  std::lock_guard lock(mutex_);
  hidden_ = true;
}

void Holder::forget() {
  std::lock_guard lock(mutex_);
  version_ = {};
}

std::shared_ptr<Snapshot> Holder::begin_all() {
  std::lock_guard lock(mutex_);
  return begin([](std::uint32_t) { return Snapshot::Keep::kBytes; });
}

std::shared_ptr<Snapshot> Holder::begin(const Snapshot::Share& share) {
  std::vector<const std::byte*> at;
  for (const StateBuffer& b : config_.state) at.push_back(static_cast<const std::byte*>(b.data));
  auto snapshot = std::make_shared<Snapshot>(table_, std::move(at), share, config_.snapshot_bytes, update_bytes_);
  snapshots_.push_back(snapshot);
  return snapshot;
}

Result<Holder::Taken> Holder::take(std::uint64_t step, const Snapshot::Share& share, Instant deadline,
                                   const std::atomic<bool>& stop, bool with_blobs) {
  std::unique_lock lock(mutex_);
  const auto awaited = with_blobs ? awaited_.insert(step) : awaited_.end();
  const auto there = [&] { return version_.known && !updating_ && !hidden_ && version_.step >= step; };
  while (!there() && now() < deadline && !stop.load()) reached_.wait_for(lock, std::chrono::milliseconds(20));
  if (with_blobs) awaited_.erase(awaited);
  if (!there()) return {Code::kTimeout, "the owner did not come to step " + std::to_string(step) + " in time"};
  const bool blobs = config_.blobs.empty() || !with_blobs || blobs_step_ == step;
  if (version_.step != step || !blobs)
    return {Code::kUnavailable, "the state is as of step " + std::to_string(version_.step) + ", not " + std::to_string(step)};
  Taken taken;
  taken.version = version_;
  if (with_blobs) taken.blobs = blobs_;
  taken.snapshot = begin(share);
  return taken;
}

}  // namespace regroup::state

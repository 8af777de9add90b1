#include "runtime/state/checkpointer.h"

#include "base/clock.h"
#include "base/log.h"
#include "runtime/state/serve.h"

namespace regroup::state {

void Checkpointer::stop() {
  stop_.store(true);
  worker_.stop();
}

void Checkpointer::begin(std::uint64_t step) {
  {
    std::lock_guard lock(mutex_);
    if (busy_) return void(++report_.left_out);
    busy_ = true;
  }
  std::vector<SavedBlob> blobs;
  for (const StateBlob& blob : holder_.config().blobs) blobs.push_back({blob.name, blob.save()});
  auto snapshot = holder_.begin_all();
  worker_.post([this, step, snapshot = std::move(snapshot), blobs = std::move(blobs)]() mutable {
    yield_to_collectives();
    const Status status = write(step, snapshot, std::move(blobs));
    snapshot->end();
    if (!status && !stop_.load()) log::warn("checkpoint_failed", "step=" + std::to_string(step) + " why=\"" + status.error().detail + "\"");
    std::lock_guard lock(mutex_);
    busy_ = false;
    if (status.ok()) ++report_.written, report_.step = step, report_.trouble.clear();
    else ++report_.failed, report_.trouble = status.error().detail;
    idle_.notify_all();
  });
}

Status Checkpointer::write(std::uint64_t step, const std::shared_ptr<Snapshot>& snapshot, std::vector<SavedBlob> blobs) const {
  return dir_.write(step, std::move(blobs), [&](std::uint32_t stripe, std::span<std::byte> into) -> Status {
    if (stop_.load()) return {Code::kClosed, "the group was closed"};
    if (snapshot->read(stripe, into) != Snapshot::Read::kOk)
      return {Code::kNoMemory, "more of the state changed while it was written than snapshot_bytes holds"};
    snapshot->drop(stripe);
    return {};
  });
}

void Checkpointer::finish(Instant deadline) {
  std::unique_lock lock(mutex_);
  while (busy_ && now() < deadline) idle_.wait_for(lock, std::chrono::milliseconds(20));
}

Checkpoints Checkpointer::report() const {
  std::lock_guard lock(mutex_);
  return report_;
}

}  // namespace regroup::state

#include "runtime/state/snapshot.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace regroup::state {

Snapshot::Share Snapshot::share_of(std::uint32_t source, std::uint32_t sources) {
  return [source, sources](std::uint32_t stripe) {
    if (sources == 0 || stripe % sources == source) return Keep::kBytes;
    return (stripe + 1) % sources == source ? Keep::kDigest : Keep::kNothing;
  };
}

Snapshot::Snapshot(const StripeTable& table, std::vector<const std::byte*> at, const Share& share,
                   std::uint64_t max_kept_bytes)
    : table_(table), at_(std::move(at)), max_kept_bytes_(max_kept_bytes), slots_(table.size()) {
  RG_CHECK(at_.size() == table.tensors().size());
  for (std::uint32_t i = 0; i < table.size(); ++i) slots_[i].keep = share(i);
}

std::span<const std::byte> Snapshot::there(std::uint32_t stripe) const {
  const Stripe& s = table_[stripe];
  return {at_[s.tensor] + s.offset, s.bytes};
}

void Snapshot::before_update(StripeTable::Range stripes) {
  std::unique_lock lock(mutex_);
  for (std::uint32_t i = stripes.first; i < std::min<std::uint32_t>(stripes.last, table_.size()) && !over_; ++i) {
    Slot& slot = slots_[i];
    if (slot.state != State::kThere) continue;
    unread_.wait(lock, [&] { return std::find(reading_.begin(), reading_.end(), i) == reading_.end(); });
    if (slot.keep == Keep::kDigest && !slot.told) slot.digest = digest_of(there(i)), slot.told = true;
    slot.state = State::kGone;
    if (slot.keep != Keep::kBytes) continue;
    const std::span<const std::byte> bytes = there(i);
    if (kept_ + bytes.size() > max_kept_bytes_) {
      over_ = true;
      break;
    }
    slot.bytes.assign(bytes.begin(), bytes.end());
    kept_ += bytes.size();
    slot.state = State::kKept;
  }
  // Over: whoever reads is done with the stripe before the owner goes on.
  if (over_) unread_.wait(lock, [&] { return reading_.empty(); });
}

// Calls at_bytes with the stripe as of the mark: outside the lock where it lies, below it where it is kept.
template <class F>
Snapshot::Read Snapshot::look(std::uint32_t stripe, F&& at_bytes) {
  std::unique_lock lock(mutex_);
  if (over_) return Read::kOver;
  if (stripe >= slots_.size() || slots_[stripe].state == State::kGone) return Read::kGone;
  if (slots_[stripe].state == State::kKept) {
    at_bytes(std::span<const std::byte>(slots_[stripe].bytes));
    return Read::kOk;
  }
  reading_.push_back(stripe);
  lock.unlock();
  at_bytes(there(stripe));
  lock.lock();
  reading_.erase(std::find(reading_.begin(), reading_.end(), stripe));
  unread_.notify_all();
  return Read::kOk;
}

Snapshot::Read Snapshot::read(std::uint32_t stripe, std::span<std::byte> into) {
  return look(stripe, [&](std::span<const std::byte> bytes) {
    RG_CHECK(bytes.size() == into.size());
    std::memcpy(into.data(), bytes.data(), bytes.size());
  });
}

Snapshot::Read Snapshot::digest(std::uint32_t stripe, std::uint64_t& digest) {
  {
    std::lock_guard lock(mutex_);
    if (over_) return Read::kOver;
    if (stripe < slots_.size() && slots_[stripe].told) {
      digest = slots_[stripe].digest;
      return Read::kOk;
    }
  }
  const Read result = look(stripe, [&](std::span<const std::byte> bytes) { digest = digest_of(bytes); });
  if (result != Read::kOk) return result;
  std::lock_guard lock(mutex_);
  slots_[stripe].digest = digest;
  slots_[stripe].told = true;
  return Read::kOk;
}

void Snapshot::drop(std::uint32_t stripe) {
  std::lock_guard lock(mutex_);
  if (stripe >= slots_.size()) return;
  Slot& slot = slots_[stripe];
  slot.keep = Keep::kNothing;
  if (slot.state != State::kKept) return;
  kept_ -= slot.bytes.size();
  slot.bytes = {};
  slot.state = State::kGone;
}

void Snapshot::end() {
  std::unique_lock lock(mutex_);
  over_ = true;
  unread_.wait(lock, [&] { return reading_.empty(); });
  slots_ = std::vector<Slot>(table_.size());
  kept_ = 0;
}

bool Snapshot::over() const {
  std::lock_guard lock(mutex_);
  return over_;
}

std::uint64_t Snapshot::kept_bytes() const {
  std::lock_guard lock(mutex_);
  return kept_;
}

}  // namespace regroup::state

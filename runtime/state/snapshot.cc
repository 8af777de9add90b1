#include "runtime/state/snapshot.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/fence.h"

namespace regroup::state {

namespace {

// What is read may be written meanwhile; the caller finds out and throws it away, as with a sequence lock.
__attribute__((no_sanitize("thread"))) void copy_while_written(std::span<std::byte> to, std::span<const std::byte> from) {
  const std::size_t words = to.size() / 8;
  for (std::size_t i = 0; i < words; ++i) {
    std::uint64_t word;
    __builtin_memcpy(&word, from.data() + 8 * i, 8);
    __builtin_memcpy(to.data() + 8 * i, &word, 8);
  }
  for (std::size_t i = words * 8; i < to.size(); ++i) to[i] = from[i];
}

}  // namespace

Snapshot::Share Snapshot::share_of(std::uint32_t source, std::uint32_t sources) {
  return [source, sources](std::uint32_t stripe) {
    if (sources == 0 || stripe % sources == source) return Keep::kBytes;
    return (stripe + 1) % sources == source ? Keep::kDigest : Keep::kNothing;
  };
}

Snapshot::Share Snapshot::digests_of(std::uint32_t source, std::uint32_t sources) {
  return [source, sources](std::uint32_t stripe) { return stripe % sources == source ? Keep::kDigest : Keep::kNothing; };
}

Snapshot::Snapshot(const StripeTable& table, std::vector<const std::byte*> at, const Share& share,
                   std::uint64_t max_kept_bytes, std::uint64_t update_bytes)
    : table_(table), at_(std::move(at)), max_kept_bytes_(max_kept_bytes), slots_(table.size()) {
  RG_CHECK(at_.size() == table.tensors().size());
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    slots_[i].keep = share(i);
    if (slots_[i].keep == Keep::kBytes) may_keep_ += table[i].bytes;
  }
  if (may_keep_ != 0)
    wanted_ = static_cast<std::uint64_t>(2.0 * static_cast<double>(update_bytes) * static_cast<double>(may_keep_) / static_cast<double>(table.bytes()));
}

std::span<const std::byte> Snapshot::there(std::uint32_t stripe) const {
  const Stripe& s = table_[stripe];
  return {at_[s.tensor] + s.offset, s.bytes};
}

void Snapshot::before_update(StripeTable::Range stripes) {
  std::lock_guard lock(mutex_);
  const std::uint64_t before = kept_;
  for (std::uint32_t i = stripes.first; i < std::min<std::uint32_t>(stripes.last, table_.size()) && !over_; ++i) {
    Slot& slot = slots_[i];
    if (slot.state != State::kThere) continue;
    if (slot.keep == Keep::kDigest && !slot.told) slot.digest = digest_of(there(i)), slot.told = true;
    slot.state = State::kGone;
    if (slot.keep != Keep::kBytes) continue;
    const std::span<const std::byte> bytes = there(i);
    if (kept_ + bytes.size() > max_kept_bytes_) {
      over_ = true;
      break;
    }
    may_keep_ -= bytes.size();
    std::vector<std::byte> copy;
    if (!spare_.empty() && spare_.back().size() >= bytes.size()) {
      spare_bytes_ -= spare_.back().size();
      copy = std::move(spare_.back());
      spare_.pop_back();
      copy.resize(bytes.size());
      std::memcpy(copy.data(), bytes.data(), bytes.size());
    } else {
      copy.assign(bytes.begin(), bytes.end());
    }
    slot.bytes = std::make_shared<const std::vector<std::byte>>(std::move(copy));
    kept_ += bytes.size();
    slot.state = State::kKept;
  }
  wanted_ = std::max(wanted_, 2 * (kept_ - before));
}

bool Snapshot::make_spare() {
  {
    std::lock_guard lock(mutex_);
    if (over_ || spare_bytes_ >= std::min({wanted_, may_keep_, max_kept_bytes_ - std::min(kept_, max_kept_bytes_)})) return false;
  }
  std::vector<std::byte> fresh(kStripeBytes);
  std::lock_guard lock(mutex_);
  if (over_) return false;
  spare_bytes_ += fresh.size();
  spare_.push_back(std::move(fresh));
  return true;
}

Snapshot::Read Snapshot::read(std::uint32_t stripe, std::span<std::byte> into) {
  std::unique_lock lock(mutex_);
  if (over_) return Read::kOver;
  if (stripe >= slots_.size()) return Read::kGone;
  const Slot& slot = slots_[stripe];
  if (slot.state == State::kThere) {
    const std::span<const std::byte> bytes = there(stripe);
    RG_CHECK(bytes.size() == into.size());
    ++readers_;
    lock.unlock();
    copy_while_written(into, bytes);
    read_fence();
    lock.lock();
    if (--readers_ == 0) unread_.notify_all();
    if (over_) return Read::kOver;
    if (slot.state == State::kThere) return Read::kOk;
  }
  if (slot.state == State::kGone) return Read::kGone;
  const std::shared_ptr<const std::vector<std::byte>> kept = slot.bytes;
  lock.unlock();  // the owner may need the lock
  RG_CHECK(kept->size() == into.size());
  std::memcpy(into.data(), kept->data(), into.size());
  return Read::kOk;
}

Snapshot::Read Snapshot::digest(std::uint32_t stripe, std::uint64_t& digest) {
  const auto told = [&] {
    if (stripe >= slots_.size() || !slots_[stripe].told) return false;
    digest = slots_[stripe].digest;
    return true;
  };
  {
    std::lock_guard lock(mutex_);
    if (over_) return Read::kOver;
    if (told()) return Read::kOk;
    if (stripe >= slots_.size()) return Read::kGone;
  }
  aside_.resize(table_[stripe].bytes);
  const Read result = read(stripe, aside_);
  if (result == Read::kOk) digest = digest_of(aside_);
  std::lock_guard lock(mutex_);
  if (result == Read::kGone && told()) return Read::kOk;  // its owner said it just before it went
  if (result != Read::kOk || over_) return result;
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
  kept_ -= slot.bytes->size();
  slot.bytes = nullptr;
  slot.state = State::kGone;
}

void Snapshot::end() {
  std::vector<Slot> slots(table_.size());  // what was kept is freed outside of the lock: the owner may need it
  std::vector<std::vector<std::byte>> spare;
  std::unique_lock lock(mutex_);
  over_ = true;
  unread_.wait(lock, [&] { return readers_ == 0; });
  slots_.swap(slots);
  spare_.swap(spare);
  kept_ = spare_bytes_ = 0;
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

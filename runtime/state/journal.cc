#include "runtime/state/journal.h"

namespace regroup::state {

void Journal::clear(OpId op) {
  held_.clear();
  last_ = taken_ = last_mark_ = op;
  memory_ = 0;
  spilled_ = spill_end_ = 0;
}

Journal::Push Journal::push(Entry entry) {
  if (entry.op <= last_) return Push::kKnown;
  if (entry.op != last_ + 1) return Push::kGap;
  Held held;
  held.bytes = entry.data.size();
  if (memory_ + held.bytes <= memory_bytes_) {
    memory_ += held.bytes;
  } else {
    if (spill_end_ + held.bytes > spill_bytes_) return Push::kFull;
    held.spilled = true;
    held.offset = spill_end_;
    if (!spill_->write(held.offset, entry.data).ok()) return Push::kStore;
    spill_end_ += held.bytes;
    spilled_ += held.bytes;
    entry.data = {};
  }
  last_ = entry.op;
  if (entry.mark) last_mark_ = entry.op;
  held.entry = std::move(entry);
  held_.push_back(std::move(held));
  return Push::kOk;
}

Result<std::optional<Entry>> Journal::pop(OpId limit) {
  if (held_.empty() || held_.front().entry.op > limit) return std::optional<Entry>{};
  Held& front = held_.front();
  if (front.spilled) {
    front.entry.data.resize(front.bytes);
    if (Status s = spill_->read(front.offset, front.entry.data); !s) return s.error();
    spilled_ -= front.bytes;
  } else {
    memory_ -= front.bytes;
  }
  std::optional<Entry> entry(std::move(front.entry));
  held_.pop_front();
  taken_ = entry->op;
  if (spilled_ == 0) spill_end_ = 0;
  return entry;
}

}  // namespace regroup::state

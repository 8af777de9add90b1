#include "runtime/exec/nccl_room.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace regroup {
namespace {

// Sizes of buffers are rounded up by at most an eighth, so that what is kept serves others.
constexpr std::size_t kLeast = 64u << 10;

std::size_t rounded(std::size_t bytes) {
  const std::size_t grain = std::max(kLeast, std::bit_floor(bytes) / 8);
  return (bytes + grain - 1) / grain * grain;
}

}  // namespace

device::Device& NcclRoom::device() const { return *rooms_->device(); }

bool NcclRoom::reserve(std::size_t in_bytes, std::size_t out_bytes) {
  if (!done()) return false;
  if (growth_ && growth_->over.load(std::memory_order_acquire)) {
    const auto adopt = [](Buffer& mine, Buffer& more) {
      if (more.bytes > mine.bytes) std::swap(mine, more);
    };
    adopt(in_, growth_->in);
    adopt(out_, growth_->out);
    rooms_->caller_.start([rooms = rooms_, old = std::move(growth_)] { rooms->keep(old->in), rooms->keep(old->out); });
  }
  if (in_.bytes >= in_bytes && out_.bytes >= out_bytes) return true;
  if (growth_) return false;
  growth_ = std::make_shared<Growth>();
  if (in_.bytes >= in_bytes) in_bytes = 0;
  if (out_.bytes >= out_bytes) out_bytes = 0;
  rooms_->caller_.start([rooms = rooms_, growth = growth_, in_bytes, out_bytes] {
    if (auto in = rooms->fetch(in_bytes)) growth->in = *in;
    if (auto out = rooms->fetch(out_bytes)) growth->out = *out;
    growth->over.store(true, std::memory_order_release);
  });
  return false;
}

Status NcclRoom::after(std::size_t bytes) {
  if (Status s = stream_->copy(out_.here, out_.there, bytes); !s) return s;
  return stream_->raise(word_, use_);
}

std::shared_ptr<NcclRoom> NcclRooms::open() {
  const std::shared_ptr<NcclRooms> self = shared_from_this();
  std::shared_ptr<NcclRoom> room(new NcclRoom, [self](NcclRoom* gone) {
    self->caller_.start([self, gone] { self->take_back(gone); });
  });
  room->rooms_ = self;
  caller_.start([self, room] { self->make(*room); });
  return room;
}

void NcclRooms::make(NcclRoom& room) {
  const auto fail = [&](const Error& error) {
    room.why_ = error.detail;
    room.state_.store(NcclRoom::State::kFailed, std::memory_order_release);
  };
  auto stream = device_->make_stream();
  if (!stream) return fail(stream.error());
  room.stream_ = std::move(*stream);
  if (words_.empty()) {
    Result<device::Flag> word = device_->make_flag();
    if (!word) return fail(word.error());
    words_.push_back(*word);
  }
  room.word_ = words_.back();
  room.use_ = room.word_.value();
  words_.pop_back();
  room.state_.store(NcclRoom::State::kOpen, std::memory_order_release);
}

void NcclRooms::take_back(NcclRoom* gone) {
  const std::unique_ptr<NcclRoom> room(gone);
  room->stream_.reset();
  if (room->word_.word != nullptr) words_.push_back(room->word_);
  keep(room->in_);
  keep(room->out_);
  if (room->growth_) keep(room->growth_->in), keep(room->growth_->out);  // it was fetched before this, on this thread
}

// The smallest kept one that is large enough, or a new one; empty for no bytes.
Result<NcclRoom::Buffer> NcclRooms::fetch(std::size_t bytes) {
  if (bytes == 0) return NcclRoom::Buffer{};
  auto best = buffers_.end();
  for (auto b = buffers_.begin(); b != buffers_.end(); ++b)
    if (b->bytes >= bytes && (best == buffers_.end() || b->bytes < best->bytes)) best = b;
  if (best != buffers_.end()) {
    const NcclRoom::Buffer found = *best;
    buffers_.erase(best);
    return found;
  }
  const std::size_t size = rounded(bytes);
  Result<void*> here = device_->allocate(device::Memory::kPinned, size);
  if (!here) return here.error();
  Result<void*> there = device_->allocate(device::Memory::kDevice, size);
  if (!there) {
    device_->free(device::Memory::kPinned, *here);
    return there.error();
  }
  return NcclRoom::Buffer{static_cast<std::byte*>(*here), static_cast<std::byte*>(*there), size};
}

void NcclRooms::keep(const NcclRoom::Buffer& buffer) {
  if (buffer.bytes != 0) buffers_.push_back(buffer);
}

void NcclRooms::free_kept() {
  for (const NcclRoom::Buffer& b : std::exchange(buffers_, {})) {
    device_->free(device::Memory::kPinned, b.here);
    device_->free(device::Memory::kDevice, b.there);
  }
}

bool NcclRooms::end(Instant deadline) {
  return caller_.wait(caller_.start([self = shared_from_this()] { self->free_kept(); }), deadline);
}

}  // namespace regroup

#include "bench/device_side.h"

#include <cstring>

#include "bench/clock.h"

namespace regroup::bench {
namespace {

constexpr double kLastS = 10;  // for the stream, when the buffers go

}  // namespace

Result<std::unique_ptr<DeviceSide>> DeviceSide::make(std::shared_ptr<device::Device> device, double bound_s) {
  if (device == nullptr) return {Code::kConfig, "the group has no device"};
  std::unique_ptr<DeviceSide> side(new DeviceSide(std::move(device), bound_s));
  auto stream = side->device_->make_stream();
  if (!stream.ok()) return stream.error();
  side->stream_ = std::move(*stream);
  return side;
}

DeviceSide::~DeviceSide() {
  if (stream_ != nullptr && !bounded_finish(kLastS).ok()) {
    stream_.release();
    new std::shared_ptr(device_);  // it outlives what it made
    return;
  }
  stream_.reset();
  for (const Memory& memory : memory_) {
    if (memory.there != nullptr) device_->free(device::Memory::kDevice, memory.there);
    if (memory.here != nullptr) device_->free(device::Memory::kPinned, memory.here);
  }
}

Result<void*> DeviceSide::allocate(std::size_t bytes) {
  Memory& memory = memory_.emplace_back();
  for (auto [at, kind] : {std::pair{&memory.there, device::Memory::kDevice}, {&memory.here, device::Memory::kPinned}}) {
    auto allocated = device_->allocate(kind, bytes);
    if (!allocated.ok()) return allocated.error();
    *at = static_cast<std::byte*>(*allocated);
  }
  memory.bytes = bytes;
  std::memset(memory.here, 0, bytes);
  if (Status s = put(memory.there, bytes); !s.ok()) return s.error();
  return memory.there;
}

void* DeviceSide::here(const void* there) const {
  const auto* at = static_cast<const std::byte*>(there);
  for (const Memory& memory : memory_)
    if (at >= memory.there && at < memory.there + memory.bytes) return memory.here + (at - memory.there);
  return nullptr;
}

Status DeviceSide::put(const void* there, std::size_t bytes) {
  if (bytes == 0) return {};
  if (Status s = stream_->copy(const_cast<void*>(there), here(there), bytes); !s.ok()) return s;
  return finish();
}

Status DeviceSide::fetch(const void* there, std::size_t bytes) {
  if (bytes == 0) return {};
  if (Status s = stream_->copy(here(there), there, bytes); !s.ok()) return s;
  return finish();
}

Status DeviceSide::finish() { return bounded_finish(bound_s_); }

Status DeviceSide::bounded_finish(double bound_s) {
  return stream_->finish(Instant{now_ns() + static_cast<std::int64_t>(bound_s * 1e9)});
}

}  // namespace regroup::bench

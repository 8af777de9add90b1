#include "runtime/exec/nccl_room.h"

namespace regroup {

Result<std::shared_ptr<NcclRoom>> NcclRoom::make(std::shared_ptr<device::Device> device) {
  auto room = std::make_shared<NcclRoom>();
  auto stream = device->make_stream();
  if (!stream) return stream.error();
  auto event = device->make_event();
  if (!event) return event.error();
  room->device = std::move(device);
  room->stream = std::move(*stream);
  room->done = std::move(*event);
  return room;
}

NcclRoom::~NcclRoom() {
  stream.reset();
  for (const Buffer& b : {in, out})
    if (b.at != nullptr) device->free(device::Memory::kPinned, b.at);
}

bool NcclRoom::grow(Buffer& buffer, std::size_t bytes) {
  if (buffer.bytes >= bytes) return true;
  if (buffer.at != nullptr) device->free(device::Memory::kPinned, buffer.at);
  buffer = {};
  Result<void*> memory = device->allocate(device::Memory::kPinned, bytes);
  if (!memory) return false;
  buffer = {static_cast<std::byte*>(*memory), bytes};
  return true;
}

bool NcclRoom::reserve(std::size_t in_bytes, std::size_t out_bytes) {
  return grow(in, in_bytes) && grow(out, out_bytes);
}

}  // namespace regroup

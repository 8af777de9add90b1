// DeviceBoard: what the members of a host tell one another of their ops on devices: one segment of words each, written by its
// owner, read by all; as WordsPage (transport/shm/words.h), and found through it.
//
// The line of op k is written again for op k + window only when k is settled here, so nobody of this view reads it any more. Tags
// carry the epoch: who is stopped in an epoch before takes nothing of a later one for its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <new>

#include "kernels/device/device.h"
#include "transport/shm/words.h"

namespace regroup {

struct alignas(64) DeviceLine {
  std::atomic<shm::Tag> ready{0};   // what stands below is said of this op, and the input is complete
  std::atomic<shm::Tag> placed{0};  // epoch and number of chunks that stand in my scratch
  std::byte desc[24];
  std::uint32_t there;              // my buffers lie on a device that can carry it out
  device::Loan input, scratch;
};

struct DeviceBoard {
  alignas(64) std::atomic<std::uint64_t> withdrawn{0};  // as WordLine's
  Incarnation owner;
  std::uint32_t window = 0;

  static std::size_t bytes(std::uint32_t window) { return sizeof(DeviceBoard) + window * sizeof(DeviceLine); }
  static DeviceBoard& make(void* memory, std::uint32_t window) {
    auto* board = new (memory) DeviceBoard;
    board->window = window;
    for (OpId op = 0; op < window; ++op) new (&board->line(op)) DeviceLine{};
    return *board;
  }
  [[nodiscard]] DeviceLine& line(OpId op) const {
    auto* lines = reinterpret_cast<DeviceLine*>(const_cast<DeviceBoard*>(this) + 1);
    return lines[op % window];
  }
};
static_assert(sizeof(DeviceBoard) % 64 == 0);

}  // namespace regroup

// HostDevice: the device of a machine without one. A stream is a queue with a thread; a kernel is its host twin.
//
// For tests steps can be late, by a seeded delay each, so that streams overtake one another in every way that they may
// (within a stream order holds), and one can fail, which loses the device. `kind` of memory is kept and checked: a copy
// or a launch cannot be given memory that is not here, but it is all host memory.
#pragma once

#include "base/rng.h"
#include "kernels/device/device.h"

namespace regroup::device {

struct Faults {
  std::uint64_t seed = 0;
  Duration late;                   // each step begins up to so much after it could
  std::uint64_t fail_at = 0;       // the n-th step of the device, from 1, fails; 0: none
  std::uint64_t queues = 0;        // streams share so many: one that waits for a word holds up all in its queue; 0: they do not
  std::uint64_t closed = 0;        // not 0: what others lend cannot be opened here (kUnsupported)
  std::uint64_t most_pinned = UINT64_MAX;  // bytes of pinned memory in one piece; more: kNoMemory
};

// What native() of a stream is: a step that calls step(argument) is queued. Not 0: the device is lost.
struct HostQueue {
  void* stream;
  int (*push)(void* stream, void (*step)(void* argument), void* argument);
};

[[nodiscard]] std::unique_ptr<Device> make_host_device(Faults faults = {});

}  // namespace regroup::device

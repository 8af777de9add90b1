// DeviceStage: ops whose buffers lie on a device and that the host carries out, through pinned copies of them.
//
// begin() queues on the caller's stream: copy the input here; hold(): wait until the op is over; copy the result there, if it
// was committed. (The ops of a group all begin before the stream waits for the first of them.) So the op begins after what the
// stream held, the stream goes on after the commit, an input may be changed by later steps of the stream, and an output is
// what it was unless the op committed (G8). The stream waits for a word that only our own process writes. The op itself is an
// op like any other: numbered by its call, begun when its input stands (Stage::arrived), redone from the copy.
// An op that a plane may carry out on the device (DevicePlane) only marks its place in the stream. Its input is copied here when
// a plane asks for that; its result is copied out of staging on the device if it was made there.
// Ownership: holds the device; copies live until the stream has done with them. A stream that still has not when this is
// destroyed, 10 s later, keeps them for good. Pinned memory is as much as the ops that a stream had not done with at a time
// took. Threading: begin() and destruction by one thread at a time, the rest by any.
// Where a waiting stream holds up others (`stalls`) hold() is for when the op is over: then its wait is none.
// After a lost device: kSystem from everything here that needs it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "kernels/device/device.h"
#include "runtime/exec/plane.h"

namespace regroup {

class DeviceStage {
 public:
  // `wake`: called when an input has arrived, on a thread of the device's, until hush() returns.
  DeviceStage(std::shared_ptr<device::Device> device, bool stalls, std::function<void()> wake);
  ~DeviceStage();
  DeviceStage(const DeviceStage&) = delete;
  DeviceStage& operator=(const DeviceStage&) = delete;
  void hush();

  [[nodiscard]] const std::shared_ptr<device::Device>& device() const;
  [[nodiscard]] bool stalls() const { return stalls_; }
  // Memory on the device (what the host reads as well is not).
  [[nodiscard]] bool holds(const void* memory) const;

  struct Copies {
    const void* in = nullptr;
    void* out = nullptr;
    std::shared_ptr<Stage> stage;
  };
  using Spans = std::span<const algo::Span>;
  // The spans of the two buffers that the op reads and writes; in the copies they lie at the same offsets. `stream`: native()
  // of the caller's. `there`: the op may be carried out on the device. kInvalid: the stream is none of this device;
  // kUnsupported: it records a graph, in which the words that it waits for would be the same at every replay; kNoMemory: too
  // little pinned memory; kSystem. Nothing was queued then, except perhaps after kSystem.
  Result<Copies> begin(const void* in, Spans reads, void* out, Spans writes, void* stream, bool there = false);
  // For an op that is sure to fail, at every member: with `why`, or by itself. No stream waits for it.
  static Copies doomed(std::optional<Error> why);

 private:
  struct Slot;
  struct Shared;
  class Op;
  std::shared_ptr<Shared> shared_;
  const bool stalls_;
};

}  // namespace regroup

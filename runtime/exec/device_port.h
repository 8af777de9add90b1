// DevicePort: what a member has for ops on device buffers that go over a network: a stream of its own, memory there for what
// is received and made, and digests of what is sent and was received.
//
// Steps are queued and told when they are over, in the order in which they were queued, by turn(). Nothing here waits.
// Ownership: holds the device; memory that was taken goes back when its last holder lets go, and is freed with the port and
// all that was taken. Threading: the holder of the execution token, but for take(). After a lost device: every call says so.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "base/result.h"
#include "kernels/launches.h"

namespace regroup {

class DevicePort {
 public:
  struct Config {
    std::uint32_t ctas = 32;
  };
  static Result<std::shared_ptr<DevicePort>> make(std::shared_ptr<device::Device> device, Config config);
  ~DevicePort();
  DevicePort(const DevicePort&) = delete;
  DevicePort& operator=(const DevicePort&) = delete;

  [[nodiscard]] device::Device& device() { return *device_; }
  [[nodiscard]] const std::shared_ptr<device::Stream>& stream() { return stream_; }
  // At least so many bytes on the device; contents undefined. Any thread; best taken once by the caller's before an op is
  // submitted, since allocating may wait for streams that wait for the op.
  Result<std::shared_ptr<std::byte>> take(std::size_t bytes);

  // As many steps are under way as may be: nothing is to be queued.
  [[nodiscard]] bool full() const { return steps_.size() >= kSteps; }
  [[nodiscard]] bool idle() const { return steps_.empty(); }
  // `owner`: who is told. The digest (kernels::digest) of `bytes` from `from`, which are copied to `to` too unless that is null.
  Status digest(const void* owner, void* to, const void* from, std::size_t bytes, std::function<void(std::uint64_t)> told);
  Status reduce(const void* owner, const device::Reduce& what, std::function<void()> told);
  Status copy(const void* owner, void* to, const void* from, std::size_t bytes, std::function<void()> told);
  // Tells what is over. True: something was.
  Result<bool> turn();
  // The owner is not told of what it has queued so far. That is still carried out, before what is queued later; its `memory` stays till then.
  void forget(const void* owner, std::shared_ptr<std::byte> memory);

 private:
  static constexpr std::uint32_t kSteps = 64;
  struct Pool;
  struct Step {
    const void* owner = nullptr;
    std::function<void(std::uint64_t)> told;
    std::uint32_t number = 0;
    std::shared_ptr<std::byte> memory = nullptr;
  };
  DevicePort(std::shared_ptr<device::Device> device, Config config) : device_(std::move(device)), config_(config) {}
  Status open();
  Status queued(const void* owner, std::function<void(std::uint64_t)> told);

  std::shared_ptr<device::Device> device_;
  Config config_;
  std::shared_ptr<device::Stream> stream_;
  std::shared_ptr<Pool> pool_;
  std::uint64_t *sums_ = nullptr, *seen_ = nullptr;  // by number modulo kSteps: on the device, pinned
  device::Flag over_;                                // steps that are
  std::uint32_t count_ = 0;                          // that were ever queued
  std::deque<Step> steps_;
};

}  // namespace regroup

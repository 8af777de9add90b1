#include "runtime/exec/device_port.h"

#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"

namespace regroup {
namespace {

constexpr Duration kPatience = Duration::from_s(10);
constexpr std::size_t kGrain = 4096;

}  // namespace

struct DevicePort::Pool {
  struct Block {
    std::byte* at = nullptr;
    std::size_t bytes = 0;
  };
  explicit Pool(std::shared_ptr<device::Device> d) : device(std::move(d)) {}
  ~Pool() {
    for (const Block& b : free) device->free(device::Memory::kDevice, b.at);
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  const std::shared_ptr<device::Device> device;
  // The size of a new block: what has become too small takes less in all than one that is not.
  std::size_t next(std::size_t bytes) {
    std::lock_guard lock(mutex);
    bytes = (std::max<std::size_t>(bytes, 1) + kGrain - 1) / kGrain * kGrain;
    return largest = bytes > largest ? std::max(bytes, 2 * largest) : largest;
  }
  std::mutex mutex;
  std::vector<Block> free;
  std::size_t largest = 0;
};

Result<std::shared_ptr<DevicePort>> DevicePort::make(std::shared_ptr<device::Device> device, Config config) {
  std::shared_ptr<DevicePort> port(new DevicePort(std::move(device), config));
  if (Status s = port->open(); !s) return s.error();
  return port;
}

Status DevicePort::open() {
  pool_ = std::make_shared<Pool>(device_);
  Result<std::unique_ptr<device::Stream>> stream = device_->make_stream();
  if (!stream) return stream.error();
  stream_ = std::move(*stream);
  Result<device::Flag> flag = device_->make_flag();
  if (!flag) return flag.error();
  over_ = *flag;
  for (auto [kind, at] : {std::pair{device::Memory::kDevice, &sums_}, {device::Memory::kPinned, &seen_}}) {
    Result<void*> memory = device_->allocate(kind, kSteps * sizeof(std::uint64_t));
    if (!memory) return memory.error();
    *at = static_cast<std::uint64_t*>(*memory);
  }
  return {};
}

DevicePort::~DevicePort() {
  if (stream_) (void)stream_->finish(now() + kPatience).ok();
  stream_.reset();
  if (sums_ != nullptr) device_->free(device::Memory::kDevice, sums_);
  if (seen_ != nullptr) device_->free(device::Memory::kPinned, seen_);
}

Result<std::shared_ptr<std::byte>> DevicePort::take(std::size_t bytes) {
  Pool::Block block;
  {
    std::lock_guard lock(pool_->mutex);
    auto best = pool_->free.end();  // the smallest that is large enough
    for (auto it = pool_->free.begin(); it != pool_->free.end(); ++it)
      if (it->bytes >= bytes && (best == pool_->free.end() || it->bytes < best->bytes)) best = it;
    if (best != pool_->free.end()) {
      block = *best;
      pool_->free.erase(best);
    }
  }
  if (block.at == nullptr) {
    block.bytes = pool_->next(bytes);
    Result<void*> memory = device_->allocate(device::Memory::kDevice, block.bytes);
    if (!memory) return memory.error();
    block.at = static_cast<std::byte*>(*memory);
  }
  return std::shared_ptr<std::byte>(block.at, [pool = pool_, block](std::byte*) {
    std::lock_guard lock(pool->mutex);
    pool->free.push_back(block);
  });
}

Status DevicePort::queued(const void* owner, std::function<void(std::uint64_t)> told) {
  RG_CHECK(!full());
  if (Status s = stream_->raise(over_, ++count_); !s) return s;
  steps_.push_back({owner, std::move(told), count_, nullptr});
  return {};
}

Status DevicePort::digest(const void* owner, void* to, const void* from, std::size_t bytes, std::function<void(std::uint64_t)> told) {
  const std::uint32_t slot = (count_ + 1) % kSteps;
  if (Status s = stream_->zero(sums_ + slot, sizeof *sums_); !s) return s;
  if (Status s = stream_->launch(device::launch_of(device::Digest{to, from, bytes, sums_ + slot}, config_.ctas)); !s) return s;
  if (Status s = stream_->copy(seen_ + slot, sums_ + slot, sizeof *sums_); !s) return s;
  return queued(owner, std::move(told));
}

Status DevicePort::reduce(const void* owner, const device::Reduce& what, std::function<void()> told) {
  if (Status s = stream_->launch(device::launch_of(what, config_.ctas)); !s) return s;
  return queued(owner, [told = std::move(told)](std::uint64_t) { told(); });
}

Status DevicePort::copy(const void* owner, void* to, const void* from, std::size_t bytes, std::function<void()> told) {
  if (Status s = stream_->copy(to, from, bytes); !s) return s;
  return queued(owner, [told = std::move(told)](std::uint64_t) { told(); });
}

Result<bool> DevicePort::turn() {
  if (Status s = device_->health(); !s) return s.error();
  bool moved = false;
  for (const std::uint32_t over = over_.value(); !steps_.empty() && static_cast<std::int32_t>(over - steps_.front().number) >= 0; moved = true) {
    const Step step = std::move(steps_.front());
    steps_.pop_front();
    if (step.told) step.told(seen_[step.number % kSteps]);
  }
  return moved;
}

void DevicePort::forget(const void* owner, std::shared_ptr<std::byte> memory) {
  Step* last = nullptr;
  for (Step& step : steps_)
    if (step.owner == owner && step.told) step.told = nullptr, last = &step;
  if (last != nullptr) last->memory = std::move(memory);
}

}  // namespace regroup

#include "runtime/exec/device_stage.h"

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "kernels/launches.h"

namespace regroup {
namespace {

constexpr std::uint32_t kCtas = 8;                   // of a copy-out
constexpr Duration kPatience = Duration::from_s(10);  // for streams that have not done with their copies
constexpr std::size_t kGrain = 4096;

}  // namespace

// Copies of one op at a time. `use` counts the ops; words rise to it.
struct DeviceStage::Slot {
  struct Copy {
    void* at = nullptr;
    std::size_t bytes = 0;
  } in, out;
  device::Flag decided, verdict;  // verdict: the last use that was committed
  std::unique_ptr<device::Event> done;  // the stream has done with it
  std::atomic<std::uint32_t> arrived{0};
  std::uint32_t use = 0;  // below the mutex, as is:
  bool busy = true;       // by an op that is not over
};

struct DeviceStage::Shared {
  std::shared_ptr<device::Device> device;
  std::mutex mutex;
  std::vector<std::unique_ptr<Slot>> slots;
  std::mutex wake_mutex;
  std::function<void()> wake;

  Status grow(Slot::Copy& copy, std::size_t bytes) {
    if (copy.bytes >= bytes) return {};
    const std::size_t size = (bytes + kGrain - 1) / kGrain * kGrain;
    Result<void*> memory = device->allocate(device::Memory::kPinned, size);
    if (!memory) return memory.error();
    if (copy.at != nullptr) device->free(device::Memory::kPinned, copy.at);
    copy = {*memory, size};
    return {};
  }
  Result<Slot*> make() {
    auto slot = std::make_unique<Slot>();
    for (device::Flag* flag : {&slot->decided, &slot->verdict}) {
      Result<device::Flag> made = device->make_flag();
      if (!made) return made.error();
      *flag = *made;
    }
    auto event = device->make_event();
    if (!event) return event.error();
    slot->done = std::move(event).value();
    slots.push_back(std::move(slot));
    return slots.back().get();
  }
  // The smallest free one that is large enough, else a free one that grows, else a new one.
  Result<Slot*> take(std::size_t in, std::size_t out) {
    const auto fits = [&](const Slot& s) { return s.in.bytes >= in && s.out.bytes >= out; };
    const auto size = [](const Slot& s) { return s.in.bytes + s.out.bytes; };
    Slot* best = nullptr;
    for (const auto& slot : slots) {
      if (slot->busy) continue;
      const Result<bool> reached = slot->done->reached();
      if (!reached) return reached.error();
      if (*reached && (best == nullptr || fits(*slot) > fits(*best) || (fits(*slot) == fits(*best) && size(*slot) < size(*best))))
        best = slot.get();
    }
    if (best == nullptr) {
      Result<Slot*> made = make();
      if (!made) return made.error();
      best = *made;
    }
    best->busy = false;
    if (Status s = grow(best->in, in); !s) return s.error();
    if (Status s = grow(best->out, out); !s) return s.error();
    best->busy = true;
    ++best->use;
    return best;
  }
};

class DeviceStage::Op final : public Stage {
 public:
  Op(std::shared_ptr<Shared> shared, Slot& slot) : shared_(std::move(shared)), slot_(slot), use_(slot.use) {}
  ~Op() override { settled(false); }
  [[nodiscard]] Result<bool> arrived() const override {
    if (slot_.arrived.load(std::memory_order_acquire) == use_) return true;
    if (Status s = shared_->device->health(); !s) return s.error();
    return false;
  }
  void settled(bool committed) override {
    if (over_.exchange(true)) return;
    if (committed) slot_.verdict.raise(use_);
    slot_.decided.raise(use_);
    std::lock_guard lock(shared_->mutex);
    slot_.busy = false;
  }
  Status queue(const void* in, std::size_t in_bytes, void* out, std::size_t out_bytes, device::Stream& stream) {
    const auto arrived = [shared = shared_, slot = &slot_, use = use_] {
      slot->arrived.store(use, std::memory_order_release);
      std::lock_guard lock(shared->wake_mutex);
      if (shared->wake) shared->wake();
    };
    const device::Copy copy{out, slot_.out.at, out_bytes, slot_.verdict.word, use_};
    if (in_bytes != 0)
      if (Status s = stream.copy(slot_.in.at, in, in_bytes); !s) return s;
    if (Status s = stream.call(arrived); !s) return s;
    if (Status s = stream.wait(slot_.decided, use_); !s) return s;
    if (out_bytes != 0)
      if (Status s = stream.launch(device::launch_of(copy, kCtas)); !s) return s;
    return stream.record(*slot_.done);
  }

 private:
  std::shared_ptr<Shared> shared_;
  Slot& slot_;
  const std::uint32_t use_;
  std::atomic<bool> over_{false};
};

DeviceStage::DeviceStage(std::shared_ptr<device::Device> device, std::function<void()> wake)
    : shared_(std::make_shared<Shared>()) {
  shared_->device = std::move(device);
  shared_->wake = std::move(wake);
}

DeviceStage::~DeviceStage() {
  hush();
  std::lock_guard lock(shared_->mutex);
  const Instant until = now() + kPatience;
  for (auto& slot : shared_->slots) {
    Result<bool> done = slot->done->reached();
    while (done && !*done && now() < until) {
      std::this_thread::yield();
      done = slot->done->reached();
    }
    if (done && *done) {
      for (const Slot::Copy& c : {slot->in, slot->out})
        if (c.at != nullptr) shared_->device->free(device::Memory::kPinned, c.at);
      slot->in = slot->out = {};
    } else {
      (void)new std::shared_ptr<Shared>(shared_);  // the stream may still look at it, and at its device
    }
  }
}

void DeviceStage::hush() {
  std::lock_guard lock(shared_->wake_mutex);
  shared_->wake = nullptr;
}

const std::shared_ptr<device::Device>& DeviceStage::device() const { return shared_->device; }

bool DeviceStage::holds(const void* memory) const {
  if (memory == nullptr) return false;
  const Result<device::Memory> kind = shared_->device->kind_of(memory);
  return kind && *kind == device::Memory::kDevice;
}

Result<DeviceStage::Copies> DeviceStage::begin(const void* in, std::size_t in_bytes, void* out, std::size_t out_bytes, void* stream) {
  Result<std::unique_ptr<device::Stream>> caller = shared_->device->borrow(stream);
  if (!caller) return caller.error();
  const Result<bool> capturing = (*caller)->capturing();
  if (!capturing) return capturing.error();
  if (*capturing) return {Code::kUnsupported, "a stream that records a graph: an op of a group cannot be replayed"};
  Slot* slot = nullptr;
  {
    std::lock_guard lock(shared_->mutex);
    Result<Slot*> taken = shared_->take(in_bytes, out_bytes);
    if (!taken) return taken.error();
    slot = *taken;
  }
  auto op = std::make_shared<Op>(shared_, *slot);
  if (Status s = op->queue(in, in_bytes, out, out_bytes, **caller); !s) return s.error();
  return Copies{slot->in.at, slot->out.at, std::move(op)};
}

}  // namespace regroup

#include "kernels/device/host_device.h"

#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "kernels/device/lent_memory.h"

namespace regroup::device {
namespace {

constexpr std::size_t kAlign = 256;
constexpr Duration kGlance = Duration::from_ms(1);  // a flag is raised by a store: who waits for one looks again

// What device, streams and events share; dies with the last of them.
struct Shared {
  mutable std::mutex mutex;
  std::condition_variable changed;  // an event was reached, a step queued or done, the device lost, a stream closed
  Faults faults;
  Rng rng{0};
  std::uint64_t steps = 0;
  Status health;
  struct Block {
    std::size_t bytes;
    Memory kind;
    LentMemory lent;  // kDevice: where it lies
  };
  std::map<const std::byte*, Block> blocks;
  std::deque<std::atomic<std::uint32_t>> flags;
  std::uint64_t streams = 0;                             // ever made
  std::map<std::uint64_t, const void*> waits;  // Faults::queues: the stream of a queue that waits for a word

  [[nodiscard]] Result<Memory> kind_of(const void* memory, std::size_t bytes) const {
    const auto* at = static_cast<const std::byte*>(memory);
    auto block = blocks.upper_bound(at);
    if (block != blocks.begin())
      if (--block; at + bytes <= block->first + block->second.bytes) return block->second.kind;
    return {Code::kInvalid, "memory that is not of this device"};
  }
};

class HostEvent final : public Event {
 public:
  explicit HostEvent(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  [[nodiscard]] Result<bool> reached() const override {
    std::lock_guard lock(shared_->mutex);
    if (!shared_->health) return shared_->health.error();
    return *reached_ >= recorded_;
  }
  std::shared_ptr<Shared> shared_;  // below its mutex:
  std::uint64_t recorded_ = 0;      // how often record() was called
  std::shared_ptr<std::uint64_t> reached_ = std::make_shared<std::uint64_t>(0);
};

class HostStream final : public Stream {
 public:
  explicit HostStream(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {
    {
      std::lock_guard lock(shared_->mutex);
      queue_number_ = shared_->streams++ % std::max<std::uint64_t>(shared_->faults.queues, 1);
    }
    thread_ = std::thread([this] { loop(); });
  }
  ~HostStream() override {
    {
      std::lock_guard lock(shared_->mutex);
      closed_ = true;
      release();
    }
    shared_->changed.notify_all();
    thread_.join();
  }

  Status copy(void* to, const void* from, std::size_t bytes) override {
    return push({{}, [=] { if (bytes != 0) std::memcpy(to, from, bytes); }}, {{to, bytes}, {from, bytes}});
  }
  Status zero(void* at, std::size_t bytes) override {
    return push({{}, [=] { if (bytes != 0) std::memset(at, 0, bytes); }}, {{at, bytes}});
  }
  Status launch(const Launch& kernel) override {
    if (kernel.host == nullptr || kernel.ctas == 0) return {Code::kInvalid, "a launch of nothing"};
    return push({{}, [kernel] { kernel.host(kernel.arguments.data()); }});
  }
  Status record(Event& event) override {
    auto& e = static_cast<HostEvent&>(event);
    RG_CHECK(e.shared_ == shared_);
    std::uint64_t number = 0;
    {
      std::lock_guard lock(shared_->mutex);
      number = ++e.recorded_;
    }
    return push({{}, [this, reached = e.reached_, number] {
      std::lock_guard lock(shared_->mutex);
      *reached = std::max(*reached, number);
    }});
  }
  Status wait(const Event& event) override {
    const auto& e = static_cast<const HostEvent&>(event);
    RG_CHECK(e.shared_ == shared_);
    std::uint64_t number = 0;
    {
      std::lock_guard lock(shared_->mutex);
      number = e.recorded_;
    }
    return push({[reached = e.reached_, number] { return *reached >= number; }, {}});
  }
  Status raise(Flag flag, std::uint32_t value) override { return push({{}, [=] { flag.raise(value); }}); }
  Status wait(Flag flag, std::uint32_t at_least) override {
    return push({[=] { return flag.value() >= at_least; }, {}, true});
  }
  Status call(std::function<void()> function) override { return push({{}, std::move(function)}); }
  [[nodiscard]] Result<bool> capturing() const override { return false; }
  Status finish(Instant deadline) override {
    std::unique_lock lock(shared_->mutex);
    for (;;) {
      if (!shared_->health) return shared_->health;
      if (done_ == queued_) return {};
      const Duration left = deadline - now();
      if (left.ns <= 0) return {Code::kTimeout, "steps are still under way"};
      shared_->changed.wait_for(lock, std::chrono::nanoseconds(std::min(left.ns, kGlance.ns * 100)));
    }
  }
  [[nodiscard]] void* native() override { return &queue_handle_; }
  [[nodiscard]] bool of(const std::shared_ptr<Shared>& shared) const { return shared_ == shared; }

 private:
  static int push_foreign(void* stream, void (*step)(void*), void* argument) {
    return static_cast<HostStream*>(stream)->push({{}, [=] { step(argument); }}).ok() ? 0 : 1;
  }
  struct Step {
    std::function<bool()> ready;  // asked below the mutex; empty: at once
    std::function<void()> work;
    bool word = false;  // `ready` looks at one
  };
  struct Range {
    const void* at;
    std::size_t bytes;
  };

  Status push(Step step, std::initializer_list<Range> ranges = {}) {
    {
      std::lock_guard lock(shared_->mutex);
      if (!shared_->health) return shared_->health;
      for (const Range& r : ranges)
        if (Result<Memory> kind = shared_->kind_of(r.at, r.bytes); !kind) return kind.error();
      queue_.push_back(std::move(step));
      ++queued_;
    }
    shared_->changed.notify_all();
    return {};
  }

  void loop() {
    std::unique_lock lock(shared_->mutex);
    for (;;) {
      if (closed_) return;
      if (!shared_->health || queue_.empty()) {
        shared_->changed.wait(lock);
        continue;
      }
      if (held_up() || (queue_.front().ready && !queue_.front().ready())) {
        if (!held_up() && queue_.front().word) shared_->waits[queue_number_] = this;
        shared_->changed.wait_for(lock, std::chrono::nanoseconds(kGlance.ns));
        continue;
      }
      release();
      const Step step = std::move(queue_.front());
      queue_.pop_front();
      carry_out(step, lock);
      ++done_;
      shared_->changed.notify_all();
    }
  }

  [[nodiscard]] bool held_up() const {
    const auto waits = shared_->waits.find(queue_number_);
    return shared_->faults.queues != 0 && waits != shared_->waits.end() && waits->second != this;
  }
  void release() {
    if (const auto waits = shared_->waits.find(queue_number_); waits != shared_->waits.end() && waits->second == this) shared_->waits.erase(waits);
  }

  void carry_out(const Step& step, std::unique_lock<std::mutex>& lock) {
    Shared& s = *shared_;
    const auto most = static_cast<std::uint64_t>(s.faults.late.ns);
    const Duration late = Duration::from_ns(most > 0 ? static_cast<std::int64_t>(s.rng.below(most)) : 0);
    if (late.ns > 0) {
      lock.unlock();
      std::this_thread::sleep_for(std::chrono::nanoseconds(late.ns));
      lock.lock();
    }
    if (!s.health || closed_) return;
    if (++s.steps == s.faults.fail_at) {
      s.health = {Code::kSystem, "the device is lost: step " + std::to_string(s.steps) + " failed"};
      return;
    }
    if (!step.work) return;
    lock.unlock();
    step.work();
    lock.lock();
  }

  std::shared_ptr<Shared> shared_;  // below its mutex:
  std::deque<Step> queue_;
  std::uint64_t queued_ = 0, done_ = 0;
  bool closed_ = false;
  std::uint64_t queue_number_ = 0;
  HostQueue queue_handle_{this, push_foreign};
  std::thread thread_;
};

// Somebody else's.
class BorrowedStream final : public Stream {
 public:
  explicit BorrowedStream(HostStream& stream) : to_(stream) {}
  Status copy(void* to, const void* from, std::size_t bytes) override { return to_.copy(to, from, bytes); }
  Status zero(void* at, std::size_t bytes) override { return to_.zero(at, bytes); }
  Status launch(const Launch& kernel) override { return to_.launch(kernel); }
  Status record(Event& event) override { return to_.record(event); }
  Status wait(const Event& event) override { return to_.wait(event); }
  Status raise(Flag flag, std::uint32_t value) override { return to_.raise(flag, value); }
  Status wait(Flag flag, std::uint32_t at_least) override { return to_.wait(flag, at_least); }
  Status call(std::function<void()> function) override { return to_.call(std::move(function)); }
  [[nodiscard]] Result<bool> capturing() const override { return to_.capturing(); }
  Status finish(Instant deadline) override { return to_.finish(deadline); }
  [[nodiscard]] void* native() override { return to_.native(); }

 private:
  HostStream& to_;
};

class HostDevice final : public Device {
 public:
  explicit HostDevice(Faults faults) {
    shared_->faults = faults;
    shared_->rng = Rng(faults.seed);
  }
  ~HostDevice() override {
    for (const auto& [at, block] : shared_->blocks)
      if (block.kind != Memory::kDevice) std::free(const_cast<std::byte*>(at));
  }
  [[nodiscard]] const char* name() const override { return "host"; }
  Result<void*> allocate(Memory kind, std::size_t bytes) override {
    std::lock_guard lock(shared_->mutex);
    if (!shared_->health) return shared_->health.error();
    if (bytes > SIZE_MAX - kAlign || (kind == Memory::kPinned && bytes > shared_->faults.most_pinned))
      return {Code::kNoMemory, "no memory of " + std::to_string(bytes) + " bytes"};
    LentMemory lent;
    void* memory = nullptr;
    if (kind == Memory::kDevice) {
      lent = LentMemory::make(bytes);
      memory = lent.data();
    } else {
      memory = std::aligned_alloc(kAlign, (std::max<std::size_t>(bytes, 1) + kAlign - 1) / kAlign * kAlign);
    }
    if (memory == nullptr) return {Code::kNoMemory, "no memory of " + std::to_string(bytes) + " bytes"};
    shared_->blocks[static_cast<std::byte*>(memory)] = {bytes, kind, std::move(lent)};
    return memory;
  }
  void free(Memory kind, void* memory) override {
    std::lock_guard lock(shared_->mutex);
    const auto block = shared_->blocks.find(static_cast<std::byte*>(memory));
    RG_CHECK(block != shared_->blocks.end() && block->second.kind == kind);
    shared_->blocks.erase(block);
    if (kind != Memory::kDevice) std::free(memory);
  }
  Result<Loan> lend(const void* memory) override {
    std::lock_guard lock(shared_->mutex);
    const auto* at = static_cast<const std::byte*>(memory);
    const Result<Memory> kind = shared_->kind_of(memory, 1);
    if (!kind) return kind.error();
    if (*kind != Memory::kDevice) return {Code::kInvalid, "memory that is not kDevice"};
    const auto block = std::prev(shared_->blocks.upper_bound(at));
    return block->second.lent.loan(static_cast<std::size_t>(at - block->first));
  }
  Result<const std::byte*> open(const Loan& loan) override {
    if (shared_->faults.closed != 0) return {Code::kUnsupported, "memory of a peer that this device cannot reach"};
    Result<LentMemory> memory = LentMemory::open(loan);
    if (!memory) return memory.error();
    const std::byte* at = memory->data();
    std::lock_guard lock(shared_->mutex);
    shared_->blocks[at] = {loan.bytes, Memory::kDevice, std::move(*memory)};
    return at;
  }
  void close(const std::byte* allocation) override {
    std::lock_guard lock(shared_->mutex);
    RG_CHECK(shared_->blocks.erase(allocation) == 1);
  }
  [[nodiscard]] Result<Memory> kind_of(const void* memory) const override {
    std::lock_guard lock(shared_->mutex);
    return shared_->kind_of(memory, 1);
  }
  Result<Flag> make_flag() override {
    std::lock_guard lock(shared_->mutex);
    return Flag{&shared_->flags.emplace_back(0)};
  }
  Result<std::unique_ptr<Event>> make_event() override { return std::unique_ptr<Event>(new HostEvent(shared_)); }
  Result<std::unique_ptr<Stream>> make_stream() override { return std::unique_ptr<Stream>(new HostStream(shared_)); }
  Result<std::unique_ptr<Stream>> borrow(void* native) override {
    auto* stream = native == nullptr ? nullptr : static_cast<HostStream*>(static_cast<HostQueue*>(native)->stream);
    if (stream == nullptr || !stream->of(shared_)) return {Code::kInvalid, "a stream that is not of this device"};
    return std::unique_ptr<Stream>(new BorrowedStream(*stream));
  }
  [[nodiscard]] bool host_reads() const override { return true; }
  [[nodiscard]] bool may_stall() const override { return shared_->faults.queues != 0; }
  [[nodiscard]] Status health() const override {
    std::lock_guard lock(shared_->mutex);
    return shared_->health;
  }

 private:
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

}  // namespace

std::unique_ptr<Device> make_host_device(Faults faults) { return std::make_unique<HostDevice>(faults); }

}  // namespace regroup::device

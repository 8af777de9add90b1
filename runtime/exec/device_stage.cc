#include "runtime/exec/device_stage.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "kernels/launches.h"

namespace regroup {
namespace {

constexpr std::uint32_t kCtas = 8;                   // of a copy-out of pinned memory
constexpr std::uint32_t kCtasThere = 128;            // of one on the device
constexpr Duration kPatience = Duration::from_s(10);  // for streams that have not done with their copies
constexpr std::size_t kGrain = 4096;

std::byte* at(const void* base, const algo::Span& span) { return static_cast<std::byte*>(const_cast<void*>(base)) + span.at; }

}  // namespace

// Copies of one op at a time. `use` counts the ops; words rise to it.
struct DeviceStage::Slot {
  struct Copy {
    void* at = nullptr;
    std::size_t bytes = 0;
  } in, out, result;  // result: on the device
  device::Flag decided, verdict, verdict_there;  // verdicts: the last use that was committed, with the result in `out`, in `result`
  std::unique_ptr<device::Event> done;  // the stream has done with it
  std::unique_ptr<device::Event> read;  // what an attempt on the device read of the input
  std::atomic<std::uint32_t> arrived{0};
  std::atomic<std::uint32_t> copied{0};  // the input of an op that was begun without that
  std::atomic<bool> busy{false};  // by an op that is not over
  std::uint32_t use = 0;          // of begin()'s thread
};

struct DeviceStage::Shared {
  std::shared_ptr<device::Device> device;
  std::vector<std::unique_ptr<Slot>> slots;  // of begin()'s thread, like `outgrown`
  std::vector<std::pair<device::Memory, void*>> outgrown;  // freed at the end: freeing may wait for streams that wait for ops
  std::shared_ptr<device::Stream> copies;  // of inputs that are asked for; of the engine's thread once it is there
  std::mutex wake_mutex;
  std::function<void()> wake;

  Status grow(Slot::Copy& copy, std::size_t bytes, device::Memory kind = device::Memory::kPinned) {
    if (copy.bytes >= bytes) return {};
    const std::size_t size = (std::max(bytes, 2 * copy.bytes) + kGrain - 1) / kGrain * kGrain;
    Result<void*> memory = device->allocate(kind, size);
    if (!memory) return memory.error();
    if (copy.at != nullptr) outgrown.emplace_back(kind, copy.at);
    copy = {*memory, size};
    return {};
  }
  Result<Slot*> make() {
    auto slot = std::make_unique<Slot>();
    for (device::Flag* flag : {&slot->decided, &slot->verdict, &slot->verdict_there}) {
      Result<device::Flag> made = device->make_flag();
      if (!made) return made.error();
      *flag = *made;
    }
    for (auto* event : {&slot->done, &slot->read}) {
      auto made = device->make_event();
      if (!made) return made.error();
      *event = std::move(*made);
    }
    slots.push_back(std::move(slot));
    return slots.back().get();
  }
  // The smallest free one that is large enough, else a free one that grows, else a new one.
  Result<Slot*> take(std::size_t in, std::size_t out, std::size_t result) {
    const auto fits = [&](const Slot& s) { return s.in.bytes >= in && s.out.bytes >= out && s.result.bytes >= result; };
    const auto size = [](const Slot& s) { return s.in.bytes + s.out.bytes + s.result.bytes; };
    Slot* best = nullptr;
    for (const auto& slot : slots) {
      if (slot->busy.load(std::memory_order_acquire)) continue;
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
    if (Status s = grow(best->in, in); !s) return s.error();
    if (Status s = grow(best->out, out); !s) return s.error();
    if (Status s = grow(best->result, result, device::Memory::kDevice); !s) return s.error();
    ++best->use;
    best->busy.store(true);
    return best;
  }
};

class DeviceStage::Op final : public Stage {
 public:
  Op(std::shared_ptr<Shared> shared, Slot& slot, std::unique_ptr<device::Stream> stream, void* out, Spans writes, bool there)
      : shared_(std::move(shared)), slot_(slot), use_(slot.use), stream_(std::move(stream)), out_(out), writes_(writes.begin(), writes.end()), there_(there) {}
  ~Op() override { settled(false); }
  [[nodiscard]] Result<bool> arrived() const override {
    if (slot_.arrived.load(std::memory_order_acquire) == use_) return true;
    const Result<bool> over = slot_.done->reached();  // which asks the device how it is
    if (!over) return over.error();
    return false;
  }
  void settled(bool committed) override {
    if (over_.exchange(true)) return;
    if (committed) (made_there_ ? slot_.verdict_there : slot_.verdict).raise(use_);
    // What was committed is read by nobody, or it was said. What was given up may be, until the steps that read it are over.
    if ((committed && !past_commit_) || reader_ == nullptr || !reader_->raise(slot_.decided, use_)) slot_.decided.raise(use_);
    free_slot();
  }
  Status begin(const void* in, Spans reads) {
    const auto arrived = [shared = shared_, slot = &slot_, use = use_] {
      slot->arrived.store(use, std::memory_order_release);
      std::lock_guard lock(shared->wake_mutex);
      if (shared->wake) shared->wake();
    };
    if (there_) {
      in_ = in;
      reads_.assign(reads.begin(), reads.end());
      return stream_->call(arrived);
    }
    for (const algo::Span& span : reads)
      if (Status s = stream_->copy(at(slot_.in.at, span), at(in, span), span.bytes); !s) return s;
    return stream_->call(arrived);
  }
  [[nodiscard]] There there() const override {
    if (!there_) return {};
    return {in_, static_cast<std::byte*>(slot_.result.at), slot_.result.bytes};
  }
  [[nodiscard]] Result<bool> here() override {
    if (!there_) return arrived();
    if (Status s = shared_->device->health(); !s) return s.error();
    if (!std::exchange(asked_, true)) {
      device::Stream& stream = *shared_->copies;
      if (reader_ != nullptr) {  // an attempt on the device was given up: its reads are over before this copy is
        if (Status s = reader_->record(*slot_.read); !s) return s.error();
        if (Status s = stream.wait(*slot_.read); !s) return s.error();
      }
      for (const algo::Span& span : reads_)
        if (Status s = stream.copy(at(slot_.in.at, span), at(in_, span), span.bytes); !s) return s.error();
      const auto copied = [shared = shared_, slot = &slot_, use = use_] { slot->copied.store(use, std::memory_order_release); };
      if (Status s = stream.call(copied); !s) return s.error();
      read_by(shared_->copies, false);
    }
    return slot_.copied.load(std::memory_order_acquire) == use_;
  }
  void read_by(std::shared_ptr<device::Stream> stream, bool past_commit) override {
    reader_ = std::move(stream);
    past_commit_ = past_commit;
  }
  void made_there() override { made_there_ = true; }
  Status hold() override {
    if (Status s = stream_->wait(slot_.decided, use_); !s) return s;
    for (const algo::Span& span : writes_) {
      const device::Copy copy{at(out_, span), at(slot_.out.at, span), span.bytes, slot_.verdict.word, use_};
      if (Status s = stream_->launch(device::launch_of(copy, kCtas)); !s) return s;
      if (!there_) continue;
      const device::Copy made{at(out_, span), at(slot_.result.at, span), span.bytes, slot_.verdict_there.word, use_};
      if (Status s = stream_->launch(device::launch_of(made, kCtasThere)); !s) return s;
    }
    if (Status s = stream_->record(*slot_.done); !s) return s;
    free_slot();
    return {};
  }

 private:
  // When the op is over and the stream's steps are queued, in whichever order; else nobody knows what the stream still does with it.
  void free_slot() {
    if (ends_.fetch_add(1) == 1) slot_.busy.store(false, std::memory_order_release);
  }

  std::shared_ptr<Shared> shared_;
  Slot& slot_;
  const std::uint32_t use_;
  const std::unique_ptr<device::Stream> stream_;  // the caller's
  void* const out_;
  const std::vector<algo::Span> writes_;
  const bool there_;
  const void* in_ = nullptr;  // there_: the caller's input
  std::vector<algo::Span> reads_;
  std::atomic<int> ends_{0};
  // Of the token's holder:
  bool asked_ = false, made_there_ = false;
  std::shared_ptr<device::Stream> reader_;
  bool past_commit_ = false;  // it reads also then
  std::atomic<bool> over_{false};
};

namespace {

std::size_t end_of(DeviceStage::Spans spans) {
  std::size_t end = 0;
  for (const algo::Span& span : spans) end = std::max(end, span.at + span.bytes);
  return end;
}

// Of an op that is sure to fail: no stream knows of it, so that its number is taken all the same.
class Doomed final : public Stage {
 public:
  explicit Doomed(std::optional<Error> why) : why_(std::move(why)) {}
  [[nodiscard]] Result<bool> arrived() const override {
    if (why_) return *why_;
    return true;
  }
  void settled(bool) override {}
  Status hold() override { return {}; }

 private:
  std::optional<Error> why_;
};

// What cannot be freed, since a stream or its device may still look at it.
void keep_for_ever(std::shared_ptr<void> what) {
  static std::mutex mutex;
  static auto* const kept = new std::vector<std::shared_ptr<void>>;
  std::lock_guard lock(mutex);
  kept->push_back(std::move(what));
}

}  // namespace

DeviceStage::DeviceStage(std::shared_ptr<device::Device> device, bool stalls, std::function<void()> wake)
    : shared_(std::make_shared<Shared>()), stalls_(stalls) {
  shared_->device = std::move(device);
  shared_->wake = std::move(wake);
}

DeviceStage::~DeviceStage() {
  hush();
  const Instant until = now() + kPatience;
  bool all = true;
  for (auto& slot : shared_->slots) {
    Result<bool> done = slot->done->reached();
    while (done && !*done && now() < until) {
      std::this_thread::yield();
      done = slot->done->reached();
    }
    all = all && done && *done && !slot->busy.load();
  }
  if (!all) {
    keep_for_ever(shared_);
    return;
  }
  for (auto& slot : shared_->slots)
    for (const auto& [kind, at] : {std::pair{device::Memory::kPinned, slot->in.at}, {device::Memory::kPinned, slot->out.at},
                                   {device::Memory::kDevice, slot->result.at}})
      if (at != nullptr) shared_->device->free(kind, at);
  for (const auto& [kind, at] : shared_->outgrown) shared_->device->free(kind, at);
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

Result<DeviceStage::Copies> DeviceStage::begin(const void* in, Spans reads, void* out, Spans writes, void* stream, bool there) {
  Result<std::unique_ptr<device::Stream>> caller = shared_->device->borrow(stream);
  if (!caller) return caller.error();
  const Result<bool> capturing = (*caller)->capturing();
  if (!capturing) return capturing.error();
  if (*capturing) return {Code::kUnsupported, "a stream that records a graph: an op of a group cannot be replayed"};
  if (there && !shared_->copies) {
    auto made = shared_->device->make_stream();
    if (!made) return made.error();
    shared_->copies = std::move(*made);
  }
  // Room for a result also where nothing is written here: who has none takes part like the others.
  Result<Slot*> slot = shared_->take(end_of(reads), end_of(writes), there ? std::max<std::size_t>(end_of(writes), 1) : 0);
  if (!slot) return slot.error();
  auto op = std::make_shared<Op>(shared_, **slot, std::move(*caller), out, writes, there);
  if (Status s = op->begin(in, reads); !s) return s.error();
  return Copies{(*slot)->in.at, (*slot)->out.at, std::move(op)};
}

DeviceStage::Copies DeviceStage::doomed(std::optional<Error> why) {
  static std::byte nothing{};
  return {&nothing, &nothing, std::make_shared<Doomed>(std::move(why))};
}

}  // namespace regroup

#include "tools/chaos/worker.h"

#include <sched.h>
#include <time.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kernels/device/device.h"
#include "regroup/regroup.h"
#include "tools/chaos/page.h"
#include "tools/chaos/program.h"

namespace regroup::chaos {
namespace {

constexpr double kJoinS = 60;
constexpr double kWaitS = 60;
constexpr std::size_t kStateWords = 4096, kFollowWords = 256 << 10;
constexpr std::size_t kCheckedInput = 64 << 10;  // bytes up to which an input is compared again

std::uint64_t bits_of(const ViewInfo& view) {
  std::uint64_t bits = 0;
  for (const MemberId& id : view.members) bits |= std::uint64_t{1} << (id.replica % 64);
  return bits;
}

class Worker {
 public:
  Worker(Page& page, Slot& slot, std::uint32_t rank)
      : page_(page),
        slot_(slot),
        rank_(rank),
        program_(page.settings.seed, page.settings.ranks, page.settings.max_bytes, page.settings.depth),
        stateful_(page.settings.depth == 1),
        follow_(page.settings.follow != 0),
        state_(follow_ ? kFollowWords : kStateWords) {}

  Status run(Options options) {
    options.on_view = [this](const ViewInfo& view) {
      if (!slot_.views.push({view.epoch, bits_of(view), now().ns})) slot_.lost_views.fetch_add(1);
    };
    if (stateful_) options.state.push_back({"chaos", state_.data(), state_.size() * sizeof(std::uint64_t)});
    if (follow_) catch_up_with(options);
    auto group = Group::join(std::move(options));
    if (!group.ok()) return group.error();
    group_ = std::move(*group);
    life_ = page_.lives[rank_].fetch_add(1) + 1;
    if (Status s = allocate(); !s.ok()) return s;
    while (page_.stop.load() == 0)
      if (Status s = batch(); !s.ok()) return s;
    return {};
  }

 private:
  // A transfer takes some steps, and its bounds are so low that large results of a few steps reach them.
  void catch_up_with(Options& options) {
    options.catch_up_rate = 4 << 20;
    options.snapshot_bytes = 1 << 20;
    options.journal_bytes = 8 << 20, options.spill_bytes = 16 << 20;
    options.apply = [this](std::uint64_t step, std::span<const StepResult> results) -> Status {
      if (results.size() != 1 || results[0].code != Code::kOk) return {Code::kInvalid, "not the results of a step"};
      update_state(step - 1, results[0].data, results[0].bytes, results[0].contributors);
      return {};
    };
  }

  struct Buffers {  // there: where the op's are, on the device; else the same
    void *in = nullptr, *out = nullptr, *in_there = nullptr, *out_there = nullptr;
  };
  struct Pending {
    StepOp op;
    std::uint64_t step = 0;
    std::int64_t begin_ns = 0;
    std::byte *in = nullptr, *out = nullptr, *in_there = nullptr, *out_there = nullptr;
    Work work;
    [[nodiscard]] std::size_t bytes() const { return op.count * size_of(op.type); }
  };

  // Buffers on a device are pinned memory here, which is filled and checked, and the device's there.
  Status allocate_on(device::Device& device, std::size_t bytes) {
    auto stream = device.make_stream();
    if (!stream.ok()) return stream.error();
    stream_ = std::move(*stream);
    options_.stream = stream_->native();
    for (std::uint32_t i = 0; i < page_.settings.depth; ++i) {
      Buffers& b = private_.emplace_back();
      for (auto [memory, kind] : {std::pair{&b.in, device::Memory::kPinned}, {&b.out, device::Memory::kPinned},
                                  {&b.in_there, device::Memory::kDevice}, {&b.out_there, device::Memory::kDevice}}) {
        auto allocated = device.allocate(kind, bytes);  // until the process ends
        if (!allocated.ok()) return allocated.error();
        *memory = *allocated;
      }
    }
    registered_ = private_;
    return {};
  }

  Status allocate() {
    const std::size_t bytes = program_.buffer_bytes();
    if (device_ = group_->device(); device_) return allocate_on(*device_, bytes);
    for (std::uint32_t i = 0; i < page_.settings.depth; ++i) {
      for (Buffers* b : {&registered_.emplace_back(), &private_.emplace_back()}) {
        for (void** memory : {&b->in, &b->out}) {
          if (b == &private_.back()) {
            *memory = owned_.emplace_back(std::make_unique_for_overwrite<std::byte[]>(bytes)).get();
            continue;
          }
          auto allocated = group_->allocate(bytes);
          if (!allocated.ok()) return allocated.error();
          *memory = *allocated;
        }
        b->in_there = b->in, b->out_there = b->out;
      }
    }
    return {};
  }

  Pending prepare(std::uint64_t step, std::uint32_t place) {
    Pending p;
    p.op = program_.at(step);
    p.step = step;
    const Buffers& b = (p.op.registered ? registered_ : private_)[place];
    const std::size_t offset = p.op.offset * size_of(p.op.type);
    p.in = static_cast<std::byte*>(b.in) + offset;
    p.out = p.op.in_place ? p.in : static_cast<std::byte*>(b.out) + offset;
    p.in_there = static_cast<std::byte*>(b.in_there) + offset;
    p.out_there = p.op.in_place ? p.in_there : static_cast<std::byte*>(b.out_there) + offset;
    program_.fill(p.op, step, rank_, p.in);
    if (!p.op.in_place) std::memset(p.out, 0xa5, p.bytes());
    if (stream_) both(p, [this](std::byte* here, std::byte* there, std::size_t bytes) { return stream_->copy(there, here, bytes); });
    p.begin_ns = now().ns;
    return p;
  }

  // The op's memory there and here: `copy` it. An error is the device's end, which the op tells of.
  template <class Copy>
  void both(const Pending& p, Copy copy) {
    if (p.bytes() == 0) return;
    (void)copy(p.in, p.in_there, p.bytes());
    if (!p.op.in_place) (void)copy(p.out, p.out_there, p.bytes());
  }
  // What a step of the stream behind the op sees.
  Status fetch(const Pending& p) {
    both(p, [this](std::byte* here, std::byte* there, std::size_t bytes) { return stream_->copy(here, there, bytes); });
    return stream_->finish(now() + Duration::from_s(static_cast<std::int64_t>(kWaitS)));
  }

  // As many ops as the first one says, all in flight; then waits for each.
  Status batch() {
    const std::uint64_t first = group_->steps();
    const std::uint32_t n = program_.at(first).in_flight;
    slot_.in_op.store(first + 1, std::memory_order_release);
    Status bad;
    bool evicted = false;
    const auto take = [&](Pending& p, const Result<Outcome>& outcome) {
      const Status fetched = stream_ ? fetch(p) : Status{};
      if (outcome.ok() && !fetched.ok()) {
        bad = fetched;
      } else if (!outcome.ok()) {
        if (outcome.code() == Code::kEvicted) evicted = true;
        else if (bad.ok()) bad = outcome.error();
      } else if (!evicted && bad.ok()) {
        bad = committed(p, *outcome);
      }
    };
    if (n == 1) {
      Pending p = prepare(first, 0);
      take(p, group_->all_reduce(p.in_there, p.out_there, p.op.count, p.op.type, p.op.op, options_));
    } else {
      std::vector<Pending> pending;
      for (std::uint32_t i = 0; i < n; ++i) {
        Pending& p = pending.emplace_back(prepare(first + i, i));
        p.work = group_->all_reduce_async(p.in_there, p.out_there, p.op.count, p.op.type, p.op.op, options_);
      }
      for (Pending& p : pending) take(p, p.work.wait());
    }
    slot_.in_op.store(0, std::memory_order_release);
    if (evicted) life_ = page_.lives[rank_].fetch_add(1) + 1;
    return bad;
  }

  Status committed(const Pending& p, const Outcome& outcome) {
    Commit c;
    c.by_nccl = std::string_view(outcome.plan) == "nccl";
    c.step = p.step;
    c.begin_ns = p.begin_ns;
    c.commit_ns = now().ns;
    c.epoch = outcome.epoch;
    c.attempts = outcome.attempts;
    c.life = life_;
    c.there = std::string_view(outcome.plan) == "device" ? 1 : 0;
    c.contributors = bits_of(*outcome.view);
    std::uint64_t wrong = program_.count_wrong(p.op, p.step, c.contributors, p.out);
    if (!p.op.in_place && p.op.count * size_of(p.op.type) <= kCheckedInput)
      wrong += program_.count_changed(p.op, p.step, rank_, p.in);
    c.wrong = static_cast<std::uint32_t>(wrong);
    if (stateful_) {
      const StateRange range{0, place_of(p.step) * sizeof(std::uint64_t), sizeof(std::uint64_t)};
      if (Status s = group_->begin_update({&range, 1}); !s.ok()) return s;
      update_state(p.step, p.out, p.op.count * size_of(p.op.type), outcome.contributors());
      if (Status s = group_->end_update(); !s.ok()) return s;
      c.state = digest();
    }
    return publish(c);
  }

  // A word of the state moves with every step and depends on all words before it; the digest is of the whole state.
  [[nodiscard]] std::size_t place_of(std::uint64_t step) const { return step * 40503 % state_.size(); }
  void update_state(std::uint64_t step, const void* result, std::size_t bytes, std::uint64_t contributors) {
    const std::size_t at = place_of(step);
    std::uint64_t first = 0;
    if (bytes != 0) std::memcpy(&first, result, std::min(bytes, sizeof first));
    state_[at] = (state_[at] ^ state_[place_of(step - std::min<std::uint64_t>(step, 1))]) * 0x9e3779b97f4a7c15ull + first + contributors;
  }
  [[nodiscard]] std::uint64_t digest() const {
    std::uint64_t digest = 1;
    for (const std::uint64_t word : state_) digest = (digest ^ word) * 0x100000001b3ull;
    return digest;
  }

  Status publish(const Commit& c) {
    const std::int64_t until = c.commit_ns + static_cast<std::int64_t>(kWaitS * 1e9);
    while (!slot_.commits.push(c)) {
      if (page_.stop.load() != 0) return {};
      if (now().ns > until) return {Code::kTimeout, "the harness does not read the commits"};
      ::sched_yield();
    }
    return {};
  }

  Page& page_;
  Slot& slot_;
  const std::uint32_t rank_;
  Program program_;
  const bool stateful_, follow_;
  std::vector<std::uint64_t> state_;
  std::vector<std::unique_ptr<std::byte[]>> owned_;
  std::vector<Buffers> registered_, private_;
  std::uint32_t life_ = 0;
  std::shared_ptr<device::Device> device_;
  std::unique_ptr<device::Stream> stream_;  // null: no device
  OpOptions options_;
  std::unique_ptr<Group> group_;  // last: its threads see the members above
};

}  // namespace

int run_worker(int page_fd, int slot) {
  Page* page = map_page(page_fd, false);
  if (page == nullptr || slot < 0 || slot >= static_cast<int>(kMaxSlots)) {
    std::fprintf(stderr, "worker: error: no page of this build at descriptor %d, slot %d\n", page_fd, slot);
    return 1;
  }
  auto options = Options::from_environment();
  if (!options.ok() || options->rank < 0 || options->rank >= static_cast<int>(page->settings.ranks)) {
    std::fprintf(stderr, "worker: error: %s\n", options.ok() ? "no rank is set" : options.error().detail.c_str());
    return 1;
  }
  options->transport = page->settings.transport;
  options->device = page->settings.device;
  options->join_timeout_s = kJoinS;
  options->wait_timeout_s = kWaitS;
  const auto rank = static_cast<std::uint32_t>(options->rank);
  const Status status = Worker(*page, page->slots[slot], rank).run(std::move(*options));
  if (status.ok()) return 0;
  std::fprintf(stderr, "worker: rank %u: error: %s: %s\n", rank, code_name(status.code()), status.error().detail.c_str());
  return 1;
}

}  // namespace regroup::chaos

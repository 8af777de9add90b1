#include "bench/recovery/member.h"

#include <sched.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "bench/buffers.h"
#include "bench/clock.h"
#include "bench/recovery/page.h"
#include "bench/recovery/payload.h"
#include "regroup/regroup.h"

namespace regroup::bench {
namespace {

constexpr double kJoinS = 60;
constexpr double kWaitS = 60;

class MemberLoop {
 public:
  MemberLoop(Page& page, std::uint32_t rank)
      : page_(page), mine_(page.members[rank]), rank_(rank), payload_(page.settings.seed, page.settings.ranks) {}

  Status run(Options options) {
    if (Status s = touch_resident(); !s.ok()) return s;
    auto group = Group::join(std::move(options));
    if (!group.ok()) return group.error();
    group_ = std::move(*group);
    life_ = mine_.life.fetch_add(1) + 1;
    if (Status s = allocate(); !s.ok()) return s;
    while (page_.stop.load() == 0) {
      if (Status s = one_op(); !s.ok()) return s;
    }
    return {};
  }

 private:
  // A trainer's memory: its sockets close only after this has been torn down.
  Status touch_resident() {
    const std::size_t bytes = page_.settings.resident;
    if (bytes == 0) return {};
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return {Code::kNoMemory, std::to_string(bytes) + " resident bytes"};
    std::memset(memory, 1, bytes);  // never freed: it is there for the kill
    return {};
  }

  Status allocate() {
    count_ = page_.settings.bytes / sizeof(float);
    const Where where = page_.settings.device[0] != 0 ? Where::kDevice
                        : page_.settings.registered != 0 ? Where::kRegistered
                                                         : Where::kPrivate;
    for (std::size_t v = 0; v < Payload::kVariants; ++v) {
      if (Status s = buffers_[v].allocate(*group_, count_ * sizeof(float), v == 0 ? count_ * sizeof(float) : 4, where); !s.ok())
        return s;
      payload_.fill(here(buffers_[v], buffers_[v].in()), count_, v, rank_);
    }
    if (where != Where::kDevice) mine_.huge_pages.store(on_huge_pages(buffers_[0].in()) ? 1 : 0);
    return {};
  }

  static float* here(const Buffers& buffers, void* at) {
    return static_cast<float*>(buffers.side() == nullptr ? at : buffers.side()->here(at));
  }

  // The op, and with buffers on a device until their stream has seen the result: of the op, or the device's error.
  Result<Outcome> reduce(const Buffers& from, Commit& commit) {
    DeviceSide* side = buffers_[0].side();  // its stream takes all ops; each put ends before
    OpOptions options;
    if (side != nullptr) options.stream = side->native();
    mine_.in_op.store(commit.step + 1, std::memory_order_release);
    commit.begin_ns = now_ns();
    auto outcome = group_->all_reduce(from.in(), buffers_[0].out(), count_, DataType::kF32, ReduceOp::kSum, options);
    if (outcome.ok() && side != nullptr)
      if (Status s = side->finish(); !s.ok()) return s.error();
    commit.commit_ns = now_ns();
    mine_.in_op.store(0, std::memory_order_release);
    return outcome;
  }

  Status one_op() {
    Commit commit;
    commit.step = group_->steps();
    const Buffers& from = buffers_[Payload::variant_of(commit.step)];
    float* const out = here(buffers_[0], buffers_[0].out());
    payload_.stamp(here(from, from.in()), count_, commit.step, rank_);
    if (from.side() != nullptr)
      if (Status s = from.side()->put(from.in(), count_ * sizeof(float)); !s.ok()) return s;
    auto outcome = reduce(from, commit);
    if (!outcome.ok()) return ended_badly(outcome.error());
    if (buffers_[0].side() != nullptr)
      if (Status s = buffers_[0].side()->fetch(buffers_[0].out(), count_ * sizeof(float)); !s.ok()) return s;
    commit.epoch = outcome->epoch;
    commit.attempts = outcome->attempts;
    commit.life = life_;
    for (const MemberId& id : outcome->view->members) commit.contributors |= std::uint64_t{1} << (id.replica % 64);
    commit.wrong = static_cast<std::uint32_t>(payload_.count_wrong(out, count_, commit.step, commit.contributors));
    return publish(commit);
  }

  // An eviction is a member's next life; anything else ends it.
  Status ended_badly(const Error& error) {
    if (error.code != Code::kEvicted) return error;
    mine_.evictions.fetch_add(1);
    life_ = mine_.life.fetch_add(1) + 1;
    return {};
  }

  Status publish(const Commit& commit) {
    const std::int64_t until = commit.commit_ns + static_cast<std::int64_t>(kWaitS * 1e9);
    while (!mine_.commits.push(commit)) {
      if (page_.stop.load() != 0) return {};
      if (now_ns() > until) return {Code::kTimeout, "the parent does not read the commits"};
      ::sched_yield();
    }
    return {};
  }

  Page& page_;
  MemberPart& mine_;
  const std::uint32_t rank_;
  Payload payload_;
  std::unique_ptr<Group> group_;
  Buffers buffers_[Payload::kVariants];  // the first one's output is everybody's
  std::size_t count_ = 0;
  std::uint32_t life_ = 0;
};

}  // namespace

int run_member(int page_fd) {
  Page* page = map_page(page_fd, false);
  if (page == nullptr) {
    std::fprintf(stderr, "member: error: the shared page (descriptor %d) cannot be mapped\n", page_fd);
    return 1;
  }
  auto options = Options::from_environment();
  if (!options.ok() || options->rank < 0 || options->rank >= static_cast<int>(page->settings.ranks)) {
    std::fprintf(stderr, "member: error: %s\n", options.ok() ? "no rank is set" : options.error().detail.c_str());
    return 1;
  }
  options->transport = page->settings.transport;
  if (page->settings.device[0] != 0) options->device = page->settings.device;
  options->join_timeout_s = kJoinS;
  options->wait_timeout_s = kWaitS;
  const auto rank = static_cast<std::uint32_t>(options->rank);
  const Status status = MemberLoop(*page, rank).run(std::move(*options));
  if (status.ok()) return 0;
  std::fprintf(stderr, "member: rank %u: error: %s: %s\n", rank, code_name(status.code()),
               status.error().detail.c_str());
  return 1;
}

}  // namespace regroup::bench

// A rank of a catch-up run: computes (sleeps), all-reduces, changes a part of its state, says so.
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <new>
#include <thread>
#include <vector>

#include "bench/catchup/page.h"
#include "bench/clock.h"
#include "regroup/regroup.h"

namespace regroup::bench::catchup {
namespace {

class Member {
 public:
  Member(Page& page, int rank) : page_(page), mine_(page.parts[rank]), rank_(rank), state_(page.settings.state / 8), sum_(page.settings.grad / 8) {}

  Status run(Options options) {
    for (std::size_t i = 0; i < state_.size(); ++i) state_[i] = i;  // faults in every page before the clock starts
    options.state = {{"state", state_.data(), state_.size() * 8, DataType::kU64, {state_.size()}}};
    options.apply = [this](std::uint64_t step, std::span<const StepResult> results) -> Status {
      if (mine_.replay_ns.load() == 0) mine_.replay_ns.store(now_ns());
      for (const StepResult& r : results)
        if (r.code == Code::kOk && r.bytes == sum_.size() * 8) update(step, static_cast<const std::uint64_t*>(r.data));
      return {};
    };
    mine_.first_ns.store(0);
    mine_.joined_ns.store(0), mine_.replay_ns.store(0);
    mine_.ready_ns.store(now_ns());
    Result<std::unique_ptr<Group>> group = Group::join(std::move(options));
    if (!group) return group.error();
    const std::int64_t joined = now_ns();
    const CatchUp report = (*group)->caught_up();
    mine_.replayed.store(report.replayed_steps), mine_.snapshots.store(report.snapshots);
    mine_.caught_up_us.store(static_cast<std::int64_t>(report.seconds * 1e6));
    for (const auto& [id, bytes] : report.bytes_per_source)
      if (id.replica < kMaxRanks) mine_.source_bytes[id.replica].store(bytes);
    std::snprintf(mine_.trouble, sizeof mine_.trouble, "%s", report.trouble.c_str());
    mine_.joined_ns.store(joined);
    std::vector<std::uint64_t> gradient(sum_.size());
    while (page_.stop.load() == 0)
      if (Status s = step(**group, gradient); !s) return s;
    return {};
  }

 private:
  Status step(Group& group, std::vector<std::uint64_t>& gradient) {
    std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(page_.settings.step_ms));
    const std::uint64_t number = group.steps() + 1;
    for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] = number * (i + 1) + static_cast<std::uint64_t>(rank_);
    const Result<Outcome> got = group.all_reduce(gradient.data(), sum_.data(), sum_.size(), DataType::kU64, ReduceOp::kSum);
    if (got.code() == Code::kEvicted) return {};  // it has caught up again: from the restored state
    if (!got) return got.error();
    const std::int64_t at = now_ns();
    mine_.redone.fetch_add(got->attempts > 1);
    mine_.epoch.store(got->epoch), mine_.members.store(got->contributors());
    const StateRange range{0, offset_of(number), page_.settings.touch};
    if (Status s = group.begin_update({&range, 1}); !s) return s;
    update(number, sum_.data());
    if (Status s = group.end_update(); !s) return s;
    const std::uint64_t head = mine_.head.load();
    if (head < kCommits) mine_.commit_ns[head] = at, mine_.commit_members[head] = static_cast<std::uint8_t>(got->contributors());
    mine_.head.store(head + 1, std::memory_order_release);
    if (mine_.first_ns.load() == 0) mine_.first_ns.store(at);
    if (mine_.corrupt.load() == 1) {  // as bad memory would: a bit of every stripe
      for (std::size_t i = 0; i < state_.size(); i += 8192) state_[i] ^= 1;
      mine_.corrupt.store(2);
    }
    if (number == page_.digest_at.load()) {
      mine_.digest.store(group.state_digests()[0]);
      mine_.digest_step.store(number);
    }
    return {};
  }

  // The part that a step changes moves through the state.
  [[nodiscard]] std::size_t offset_of(std::uint64_t step) const {
    return (step * page_.settings.touch) % (page_.settings.state - page_.settings.touch + 1) / 8 * 8;
  }
  void update(std::uint64_t step, const std::uint64_t* sum) {
    std::uint64_t* part = state_.data() + offset_of(step) / 8;
    for (std::size_t i = 0, g = 0; i < page_.settings.touch / 8; ++i, g = g + 1 == sum_.size() ? 0 : g + 1) part[i] = 3 * part[i] + sum[g];
  }

  Page& page_;
  Part& mine_;
  const int rank_;
  std::vector<std::uint64_t> state_, sum_;
};

}  // namespace

Page* map(int fd, bool create) {
  if (create && ::ftruncate(fd, sizeof(Page)) != 0) return nullptr;
  void* memory = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return nullptr;
  return create ? new (memory) Page() : static_cast<Page*>(memory);
}

int run_member(int page_fd) {
  Page* page = map(page_fd, false);
  Result<Options> options = Options::from_environment();
  if (page == nullptr || !options || options->rank < 0 || options->rank >= static_cast<int>(page->settings.ranks)) {
    std::fprintf(stderr, "member: error: no page, or no rank\n");
    return 1;
  }
  options->transport = page->settings.transport;
  options->catch_up_rate = page->settings.rate;
  if (page->settings.share >= 0) options->catch_up_share = page->settings.share;
  const int rank = options->rank;
  const Status status = Member(*page, rank).run(std::move(*options));
  if (status.ok()) return 0;
  std::fprintf(stderr, "member: rank %d: error: %s: %s\n", rank, code_name(status.code()), status.error().detail.c_str());
  return 1;
}

}  // namespace regroup::bench::catchup

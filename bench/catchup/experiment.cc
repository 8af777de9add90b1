#include "bench/catchup/experiment.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "bench/clock.h"

namespace regroup::bench::catchup {

Status Experiment::start() {
  if (folder_.path().empty()) return {Code::kSystem, "no temporary folder can be made (TMPDIR)"};
  if (Status s = coordinator_.start(folder_.path(), arguments_.host); !s) return s;
  fd_ = ::memfd_create("regroup-catchup", 0);  // inherited: no MFD_CLOEXEC
  page_ = fd_ < 0 ? nullptr : map(fd_, true);
  if (page_ == nullptr) return {Code::kSystem, "the shared page"};
  Settings& s = page_->settings;
  s.state = arguments_.state, s.touch = std::min(arguments_.touch, arguments_.state), s.grad = arguments_.grad;
  s.rate = arguments_.rate, s.share = arguments_.share, s.step_ms = arguments_.step_ms, s.ranks = static_cast<std::uint32_t>(arguments_.ranks);
  std::strncpy(s.transport, arguments_.transport.c_str(), sizeof s.transport - 1);
  pids_.assign(s.ranks, -1);
  for (int r = 0; r < arguments_.ranks; ++r)
    if (Status started = start_rank(r); !started) return started;
  return wait([&] { return steps(arguments_.ranks - 1) >= 10; }, "the first steps");
}

Status Experiment::start_rank(int rank) {
  std::vector<std::string> command = arguments_.rank_in;
  for (std::string& word : command)
    if (const std::size_t at = word.find("%r"); at != std::string::npos) word.replace(at, 2, std::to_string(rank));
  for (const std::string& word : {program_folder() + "/catchup_perf", std::string("--member"), std::to_string(fd_)}) command.push_back(word);
  Result<pid_t> pid = start_process(command,
                                    {{"REGROUP_COORDINATOR", coordinator_.address()},
                                     {"REGROUP_RANK", std::to_string(rank)},
                                     {"REGROUP_WORLD_SIZE", std::to_string(arguments_.ranks)},
                                     {"REGROUP_COST", "net_gbps=10 net_hop_us=20"}},
                                    folder_.path() + "/rank-" + std::to_string(rank) + ".log");
  if (!pid) return pid.error();
  pids_[static_cast<std::size_t>(rank)] = *pid;
  return {};
}

Status Experiment::wait(const std::function<bool()>& holds, const std::string& what, double bound_s) {
  for (const double until = now_s() + bound_s; !holds(); ::poll(nullptr, 0, 1)) {
    bool well = false;
    for (std::size_t r = 0; r < pids_.size(); ++r)
      if (pids_[r] > 0 && ended(pids_[r], well))
        return {Code::kSystem, "rank " + std::to_string(r) + " has ended: " + tail_of(folder_.path() + "/rank-" + std::to_string(r) + ".log")};
    if (now_s() > until) return {Code::kTimeout, what + ": not within " + std::to_string(bound_s) + " s"};
  }
  return {};
}

Experiment::Gaps Experiment::gaps(std::int64_t from, std::int64_t to, double limit_ms) const {
  Gaps all;
  double sum = 0;
  std::uint64_t n = 0;
  for (int r = 0; r + 1 < std::max(arguments_.ranks, 2); ++r) {
    if (r == 1 && arguments_.fault != "none") continue;
    const Part& part = page_->parts[r];
    const std::uint64_t head = std::min<std::uint64_t>(steps(r), kCommits);
    int over = 0;
    for (std::uint64_t i = 1; i < head; ++i) {
      if (part.commit_ns[i] < from || part.commit_ns[i - 1] > to) continue;  // the gaps that touch the stretch
      const double gap = static_cast<double>(part.commit_ns[i] - part.commit_ns[i - 1]) / 1e6;
      all.longest_ms = std::max(all.longest_ms, gap);
      over += limit_ms > 0 && gap > limit_ms;
      sum += gap, ++n;
    }
    all.over = std::max(all.over, over);
  }
  all.mean_ms = n == 0 ? 0 : sum / static_cast<double>(n);
  return all;
}

double Experiment::commit_after_ms(std::int64_t from, int members) const {
  std::int64_t last = from;
  for (int r = 0; r + 1 < arguments_.ranks; ++r) {
    const Part& part = page_->parts[r];
    const std::uint64_t head = std::min<std::uint64_t>(steps(r), kCommits);
    std::uint64_t i = head;
    while (i > 0 && part.commit_ns[i - 1] > from && part.commit_members[i - 1] == members) --i;
    if (i < head) last = std::max(last, part.commit_ns[i]);
  }
  return static_cast<double>(last - from) / 1e6;
}

Result<Join> Experiment::join_once() {
  const int victim = arguments_.ranks - 1;
  Part& part = page_->parts[victim];
  const std::int64_t killed = now_ns();
  ::kill(pids_.back(), SIGKILL);
  ::waitpid(std::exchange(pids_.back(), -1), nullptr, 0);
  const std::uint64_t settled = steps(0) + 5;
  if (Status s = wait([&] { return steps(0) >= settled; }, "commits after the kill"); !s) return s.error();
  Join join;
  join.kill_to_commit_ms = commit_after_ms(killed, victim);
  if (Status s = kill_joiners(join); !s) return s.error();
  const std::int64_t quiet = now_ns();
  const auto stretch = static_cast<std::int64_t>(std::max(last_length_ms_ * 1.5, 500.0) * 1e6);
  if (Status s = wait([&] { return now_ns() - quiet > stretch; }, "the undisturbed stretch"); !s) return s.error();
  const std::int64_t quiet_end = now_ns();
  part.first_ns.store(0), part.ready_ns.store(0);
  if (Status s = corrupt_source(); !s) return s.error();
  if (Status s = start_rank(victim); !s) return s.error();
  if (Status s = wait([&] { return part.ready_ns.load() != 0; }, "the joiner's process"); !s) return s.error();
  if (arguments_.fault != "none")
    if (Status s = hurt_source(last_length_ms_ * 0.3); !s) return s.error();
  if (Status s = wait([&] { return part.first_ns.load() != 0; }, "the joiner's first contribution", 600); !s) return s.error();
  const std::uint64_t after = steps(0) + 2;
  if (Status s = wait([&] { return steps(0) >= after; }, "commits after the join"); !s) return s.error();
  const std::int64_t ready = part.ready_ns.load(), first = part.first_ns.load();
  join.length_ms = last_length_ms_ = static_cast<double>(first - ready) / 1e6;
  join.contributor_ms = static_cast<double>(part.joined_ns.load() - ready) / 1e6;
  const Gaps before = gaps(std::max(quiet, quiet_end - (first - ready)), quiet_end, 0);
  const Gaps during = gaps(ready, first, 2 * before.longest_ms);
  join.gap_before_ms = before.longest_ms, join.mean_before_ms = before.mean_ms;
  join.gap_during_ms = during.longest_ms, join.mean_during_ms = during.mean_ms;
  join.stalled = during.over;
  const std::int64_t joined = part.joined_ns.load(), replay = part.replay_ns.load() == 0 ? joined : part.replay_ns.load();
  join.fetch_ms = static_cast<double>(replay - ready) / 1e6, join.replay_ms = static_cast<double>(joined - replay) / 1e6;
  join.gap_fetch_ms = gaps(ready, replay, 0).longest_ms, join.gap_replay_ms = gaps(replay, joined, 0).longest_ms;
  join.gap_enter_ms = gaps(joined, first, 0).longest_ms;
  join.trouble = part.trouble;
  join.replayed = part.replayed.load(), join.snapshots = part.snapshots.load();
  for (int r = 0; r < victim; ++r) join.bytes_per_source.push_back(part.source_bytes[r].load());
  if (arguments_.fault != "none")
    if (Status s = mend_source(); !s) return s.error();
  if (Status s = compare_digests(join); !s) return s.error();
  return join;
}

Status Experiment::compare_digests(Join& join) {
  // Steps are the same at all; every member but the joiner has counted all of them.
  const std::uint64_t at = page_->digest_at.load();
  const std::uint64_t next = std::max(at, steps(0)) + 10;
  page_->digest_at.store(next);
  Status said = wait(
      [&] {
        return std::all_of(page_->parts, page_->parts + arguments_.ranks, [&](const Part& p) { return p.digest_step.load() == next; });
      },
      "digests");
  if (!said) return said;
  join.digests_equal = std::all_of(page_->parts, page_->parts + arguments_.ranks,
                                   [&](const Part& p) { return p.digest.load() == page_->parts[0].digest.load(); });
  return {};
}

Experiment::~Experiment() {
  if (page_ != nullptr) page_->stop.store(1);
  for (const double until = now_s() + 2; now_s() < until; ::poll(nullptr, 0, 5)) {
    bool well = false, any = false;
    for (pid_t& pid : pids_)
      if (pid > 0) ended(pid, well) ? (void)(pid = -1) : (void)(any = true);
    if (!any) break;
  }
  for (const pid_t pid : pids_)
    if (pid > 0) ::kill(pid, SIGKILL), ::waitpid(pid, nullptr, 0);
  if (page_ != nullptr) ::munmap(page_, sizeof(Page));
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace regroup::bench::catchup

// What goes wrong on purpose while a rank comes back: it is killed in the middle, again and again; a source dies or stops.
#include <signal.h>
#include <sys/wait.h>

#include <cstdio>
#include <filesystem>

#include "bench/catchup/experiment.h"
#include "bench/clock.h"

namespace regroup::bench::catchup {
namespace {

std::uint64_t descriptors(pid_t pid) {
  std::error_code error;
  std::uint64_t n = 0;
  for (std::filesystem::directory_iterator it("/proc/" + std::to_string(pid) + "/fd", error), end; !error && it != end; it.increment(error)) ++n;
  return n;
}
std::uint64_t resident_kib(pid_t pid) {
  unsigned long long total = 0, resident = 0;
  std::FILE* file = std::fopen(("/proc/" + std::to_string(pid) + "/statm").c_str(), "r");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%llu %llu", &total, &resident) != 2) resident = 0;
  std::fclose(file);
  return resident * 4;
}

}  // namespace

Experiment::Cost Experiment::cost() const {
  return {page_->parts[0].redone.load(), descriptors(pids_[0]), resident_kib(pids_[0])};
}

// The rank is out; it begins to come back, and is killed while it does. True: before it was in a view.
Result<bool> Experiment::kill_joiner(double after_ms) {
  const int victim = arguments_.ranks - 1;
  Part& part = page_->parts[victim];
  part.ready_ns.store(0), part.joined_ns.store(0);
  const std::uint64_t epoch = page_->parts[0].epoch.load();
  if (Status s = start_rank(victim); !s) return s.error();
  if (Status s = wait([&] { return part.ready_ns.load() != 0; }, "the joiner's process"); !s) return s.error();
  const std::int64_t at = part.ready_ns.load() + static_cast<std::int64_t>(after_ms * 1e6);
  if (Status s = wait([&] { return now_ns() >= at; }, "the moment of the kill"); !s) return s.error();
  ::kill(pids_.back(), SIGKILL);
  ::waitpid(std::exchange(pids_.back(), -1), nullptr, 0);
  const std::uint64_t next = steps(0) + 3;
  if (Status s = wait([&] { return steps(0) >= next; }, "commits after the joiner's death"); !s) return s.error();
  return page_->parts[0].epoch.load() == epoch;
}

Status Experiment::kill_joiners(Join& join) {
  Cost second;
  for (int k = 0; k < arguments_.joiner_kills; ++k) {
    const std::uint64_t redone = cost().redone;
    const Result<bool> joining = kill_joiner(last_length_ms_ * static_cast<double>(k % 10) / 10);
    if (!joining) return joining.error();
    if (*joining) ++join.killed_joining, join.redone_for_them += cost().redone - redone;
    if (k == 1) second = cost();
  }
  if (arguments_.joiner_kills < 3) return {};
  const Cost last = cost();
  join.descriptors_more = static_cast<std::int64_t>(last.descriptors) - static_cast<std::int64_t>(second.descriptors);
  join.resident_more_kib = static_cast<std::int64_t>(last.resident_kib) - static_cast<std::int64_t>(second.resident_kib);
  return {};
}

// Rank 1, a source, holds wrong bytes before anybody joins.
Status Experiment::corrupt_source() {
  if (arguments_.fault != "source-corrupt") return {};
  page_->parts[1].corrupt.store(1);
  return wait([&] { return page_->parts[1].corrupt.load() == 2; }, "the source's wrong bytes");
}

// Something happens to rank 1, a source, some time after the joiner has begun; to both of them: they begin again together.
Status Experiment::hurt_source(double after_ms) {
  if (arguments_.fault == "source-corrupt") return {};
  const int joiner = arguments_.ranks - 1;
  const std::int64_t at = page_->parts[joiner].ready_ns.load() + static_cast<std::int64_t>(after_ms * 1e6);
  if (Status s = wait([&] { return now_ns() >= at; }, "the moment of the fault"); !s) return s;
  if (arguments_.fault == "source-stop") return ::kill(pids_[1], SIGSTOP), Status();
  const bool both = arguments_.fault == "both-kill";
  ::kill(pids_[1], SIGKILL);
  if (both) ::kill(pids_.back(), SIGKILL);
  ::waitpid(std::exchange(pids_[1], -1), nullptr, 0);
  if (!both) return {};
  ::waitpid(std::exchange(pids_.back(), -1), nullptr, 0);
  const std::uint64_t next = steps(0) + 3;
  if (Status s = wait([&] { return steps(0) >= next; }, "commits after the two deaths"); !s) return s;
  for (const int rank : {1, joiner}) {
    page_->parts[rank].first_ns.store(0), page_->parts[rank].ready_ns.store(0);
    if (Status s = start_rank(rank); !s) return s;
  }
  return wait([&] { return page_->parts[1].ready_ns.load() != 0 && page_->parts[joiner].ready_ns.load() != 0; }, "the two processes");
}

// The source goes on, or begins again, so that the next join finds all.
Status Experiment::mend_source() {
  if (arguments_.fault == "source-corrupt") {
    ::kill(pids_[1], SIGKILL);
    ::waitpid(std::exchange(pids_[1], -1), nullptr, 0);
    page_->parts[1].corrupt.store(0);
  }
  if (pids_[1] > 0) {
    ::kill(pids_[1], SIGCONT);
  } else {
    page_->parts[1].first_ns.store(0);
    if (Status s = start_rank(1); !s) return s;
    if (Status s = wait([&] { return page_->parts[1].first_ns.load() != 0; }, "the source's return"); !s) return s;
  }
  return wait([&] { return page_->parts[0].members.load() == static_cast<std::uint64_t>(arguments_.ranks); }, "all members", 120);
}

}  // namespace regroup::bench::catchup

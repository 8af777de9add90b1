#include "bench/recovery/fleet.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "bench/clock.h"

namespace regroup::bench {

Status Fleet::start(const RecoveryArguments& arguments) {
  if (folder_.path().empty()) return {Code::kSystem, "no temporary folder can be made (TMPDIR)"};
  if (Status s = coordinator_.start(folder_.path()); !s.ok()) return s;
  page_fd_ = ::memfd_create("regroup-recovery", 0);  // inherited: no MFD_CLOEXEC
  page_ = page_fd_ < 0 ? nullptr : map_page(page_fd_, true);
  if (page_ == nullptr) return {Code::kSystem, "the shared page: " + std::string(std::strerror(errno))};
  Settings& settings = page_->settings;
  settings.bytes = arguments.bytes;
  settings.resident = arguments.resident;
  settings.seed = arguments.seed;
  settings.ranks = static_cast<std::uint32_t>(arguments.ranks);
  settings.registered = arguments.registered ? 1 : 0;
  std::strncpy(settings.transport, arguments.transport.c_str(), sizeof settings.transport - 1);
  std::strncpy(settings.device, arguments.device.c_str(), sizeof settings.device - 1);
  pids_.assign(settings.ranks, -1);
  last_.resize(settings.ranks);
  for (std::size_t m = 0; m < pids_.size(); ++m) {
    if (Status s = start_member(m); !s.ok()) return s;
  }
  return {};
}

Status Fleet::start_member(std::size_t member) {
  auto pid = start_process({program_folder() + "/recovery_perf", "--member", std::to_string(page_fd_)},
                           {{"REGROUP_COORDINATOR", coordinator_.address()},
                            {"REGROUP_RANK", std::to_string(member)},
                            {"REGROUP_WORLD_SIZE", std::to_string(page_->settings.ranks)},
                            {"REGROUP_TRACE_FILE", folder_.path() + "/trace"}},
                           log_of(member));
  if (!pid.ok()) return pid.error();
  pids_[member] = *pid;
  return {};
}

Status Fleet::restart(std::size_t member) { return start_member(member); }

std::string Fleet::log_of(std::size_t member) const {
  return folder_.path() + "/member-" + std::to_string(member) + ".log";
}

Status Fleet::drain(Ledger& ledger, const OnCommit& on_commit) {
  for (std::size_t m = 0; m < pids_.size(); ++m) {
    MemberPart& part = page_->members[m];
    part.commits.drain([&](const Commit& commit) {
      last_[m] = commit;
      ledger.add(m, commit);
      on_commit(m, commit);
    });
    bool well = false;
    if (pids_[m] <= 0) continue;
    if (auto how = ended(pids_[m], well)) {
      pids_[m] = -1;
      return {Code::kSystem, "rank " + std::to_string(m) + " ended (" + *how + ") though nobody killed it"};
    }
  }
  return {};
}

std::int64_t Fleet::signal(std::size_t member, int signal) {
  const std::int64_t at = now_ns();
  ::kill(pids_[member], signal);
  return at;
}

void Fleet::reap(std::size_t member) {
  if (pids_[member] > 0) ::waitpid(pids_[member], nullptr, 0);
  pids_[member] = -1;
}

bool Fleet::huge_pages() const {
  return std::all_of(page_->members, page_->members + page_->settings.ranks,
                     [](const MemberPart& part) { return part.huge_pages.load() != 0; });
}

std::string Fleet::describe() {
  std::string out;
  for (std::size_t m = 0; m < pids_.size(); ++m) {
    const std::int64_t age_ms = (now_ns() - last_[m].commit_ns) / 1'000'000;
    out += "rank " + std::to_string(m) + ": pid " + std::to_string(pids_[m]);
    if (pids_[m] > 0) {
      std::ifstream status("/proc/" + std::to_string(pids_[m]) + "/status");
      for (std::string line; std::getline(status, line);) {
        if (line.rfind("State:", 0) == 0) out += " " + line.substr(7);
      }
    }
    out += ", last commit step " + std::to_string(last_[m].step) + " epoch " + std::to_string(last_[m].epoch) +
           " contributors " + std::to_string(last_[m].contributors) + ", " + std::to_string(age_ms) +
           " ms ago, in op " + std::to_string(page_->members[m].in_op.load()) + "\n";
    const std::string log = tail_of(log_of(m), 800);
    if (log != "(no output)") out += log + "\n";
    if (pids_[m] > 0) ::kill(pids_[m], SIGUSR1);  // flight recorder
  }
  ::poll(nullptr, 0, 500);
  folder_.keep();
  return out + "coordinator: " + tail_of(folder_.path() + "/coordinator.out", 800) +
         "\nlogs and traces: " + folder_.path() + "\n";
}

std::string Fleet::keep(const std::vector<std::string>& lines) {
  for (const pid_t pid : pids_)
    if (pid > 0) ::kill(pid, SIGUSR1);
  std::ofstream out(folder_.path() + "/kills.jsonl");
  for (const std::string& line : lines) out << line << '\n';
  ::poll(nullptr, 0, 500);  // the next tick of each writes its record
  folder_.keep();
  return folder_.path();
}

Fleet::~Fleet() {
  if (page_ != nullptr) page_->stop.store(1);
  const double until = now_s() + 1;
  for (pid_t& pid : pids_) {
    bool well = false;
    if (pid > 0) ::kill(pid, SIGCONT);
    while (pid > 0 && now_s() < until) {
      if (ended(pid, well)) pid = -1;
      ::poll(nullptr, 0, 2);
    }
    if (pid <= 0) continue;
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  if (page_ != nullptr) ::munmap(page_, sizeof(Page));
  if (page_fd_ >= 0) ::close(page_fd_);
}

}  // namespace regroup::bench

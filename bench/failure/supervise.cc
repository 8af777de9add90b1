#include "bench/failure/supervise.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <memory>

#include "bench/clock.h"
#include "bench/failure/account.h"
#include "bench/failure/board.h"
#include "bench/failure/script.h"
#include "bench/interrupt.h"
#include "bench/probe.h"
#include "bench/processes.h"
#include "bench/report.h"

namespace regroup::bench {
namespace {

constexpr double kLastGraceS = 5;  // of victims that are on their way back when the others are through

class Supervisor {
 public:
  Supervisor(const Collective& collective, const Arguments& arguments, std::vector<std::string> command)
      : collective_(collective), arguments_(arguments), script_(collective, arguments), command_(std::move(command)) {
    info_.program = collective.program;
    info_.command = command_;
    info_.start_time = time_text();
    info_.ranks = static_cast<std::size_t>(arguments.ranks);
  }

  ~Supervisor() {
    for (const Child& child : children_) {
      if (child.pid > 0) end_process(child.pid);
    }
  }
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  int run() {
    Status status = check();
    if (!status.ok()) return fail(status, 2);
    probe_ = std::make_unique<Probe>();  // forks: before anything else is there
    const double before = arguments_.probe ? probe_->measure_us() : 0;
    status = start();
    if (status.ok()) status = watch();
    if (!status.ok()) return fail(status, 1);
    const double after = arguments_.probe ? probe_->measure_us() : 0;
    for (Row& row : rows_) {
      row.probe_before_us = before;
      row.probe_after_us = after;
    }
    return finish();
  }

 private:
  struct Child {
    pid_t pid = -1;
    bool well = false;  // ended with status 0
  };

  int fail(const Status& status, int code) const {
    std::fflush(stdout);
    std::fprintf(stderr, "%s: error: %s\n", collective_.program, status.error().detail.c_str());
    return code;
  }

  Status check() const {
    if (script_.sides() > kBoardSides) return {Code::kInvalid, "too many rows for --kill, --stop and --join"};
    if (arguments_.faults.size() > kBoardFaults) return {Code::kInvalid, "too many --kill and --stop"};
    const auto beyond = [&](const std::string& flag, std::uint64_t at) {
      return Status(Code::kInvalid, flag + std::to_string(at) + ": the run has " + std::to_string(script_.total()) +
                                        " calls, counted from 0");
    };
    for (const Fault& fault : arguments_.faults) {
      const std::string flag = (fault.stops ? "--stop " : "--kill ") + std::to_string(fault.rank) + "@";
      if (fault.at >= script_.total()) return beyond(flag, fault.at);
    }
    if (arguments_.join_at >= static_cast<std::int64_t>(script_.total())) {
      return beyond("--join ", static_cast<std::uint64_t>(arguments_.join_at));
    }
    return {};
  }

  Status start() {
    watch_interrupts();
    if (folder_.path().empty()) return {Code::kSystem, "no temporary folder can be made (TMPDIR)"};
    if (board_ == nullptr) return {Code::kSystem, "the board of the ranks cannot be made"};
    if (Status s = coordinator_.start(folder_.path()); !s.ok()) return s;
    command_[0] = program_folder() + "/" + collective_.program;
    children_.resize(static_cast<std::size_t>(arguments_.ranks));
    woken_.resize(arguments_.faults.size());
    for (int r = 0; r < arguments_.ranks; ++r) {
      if (Status s = start_rank(r); !s.ok()) return s;
    }
    return {};
  }

  Status start_rank(int rank) {
    auto pid = start_process(command_,
                             {{"REGROUP_COORDINATOR", coordinator_.address()},
                              {"REGROUP_RANK", std::to_string(rank)},
                              {"REGROUP_WORLD_SIZE", std::to_string(arguments_.ranks)},
                              {kBoardVariable, std::to_string(board_owner_.fd())}},
                             "");
    if (!pid.ok()) return {pid.code(), "rank " + std::to_string(rank) + ": " + pid.error().detail};
    children_[static_cast<std::size_t>(rank)] = {*pid, false};
    return {};
  }

  // The place of the slowest rank that nothing is done to.
  [[nodiscard]] std::uint64_t slowest() const {
    std::uint64_t out = script_.total();
    for (int r = 0; r < arguments_.ranks; ++r) {
      if (untouched(arguments_, r)) out = std::min(out, board_->ranks[r].position.load(std::memory_order_acquire));
    }
    return out;
  }

  Status watch() {
    double last_progress = now_s(), over = 0;
    std::uint64_t seen = 0;
    for (;; ::poll(nullptr, 0, 1)) {
      if (interrupted() != 0) return {Code::kSystem, "interrupted"};
      if (Status s = reap(); !s.ok()) return s;
      wake_stopped();
      const std::uint64_t place = slowest();
      if (arguments_.join_at >= 0 && place >= static_cast<std::uint64_t>(arguments_.join_at)) {
        if (Status s = bring_back(); !s.ok()) return s;
      }
      print_rows(place);
      if (place != seen) last_progress = now_s();
      seen = place;
      if (now_s() > last_progress + arguments_.timeout_s) return {Code::kTimeout, stuck(place)};
      if (!survivors_ended()) continue;
      if (over == 0) over = now_s();
      if (all_ended() || now_s() > over + kLastGraceS) return {};
    }
  }

  [[nodiscard]] std::string stuck(std::uint64_t place) const {
    std::string absent, behind;
    for (int r = 0; r < arguments_.ranks; ++r) {
      const RankPart& part = board_->ranks[r];
      if (part.came.load() == 0) absent += " rank " + std::to_string(r);
      if (part.position.load() <= place) behind += " rank " + std::to_string(r);
    }
    return "call " + std::to_string(place) + " did not end within " +
           std::to_string(static_cast<int>(arguments_.timeout_s)) + " s; " +
           (absent.empty() ? "not past it:" + behind : "never came:" + absent);
  }

  // kSystem: a rank ended that nobody killed.
  Status reap() {
    for (std::size_t r = 0; r < children_.size(); ++r) {
      Child& child = children_[r];
      bool well = false;
      if (child.pid <= 0) continue;
      const auto how = ended(child.pid, well);
      if (!how) continue;
      child.pid = -1;
      child.well = well;
      if (!well && !killed_itself(static_cast<int>(r))) {
        return {Code::kSystem, "rank " + std::to_string(r) + " failed: " + *how};
      }
    }
    return {};
  }

  [[nodiscard]] bool killed_itself(int rank) const {
    for (std::size_t f = 0; f < arguments_.faults.size(); ++f) {
      const Fault& fault = arguments_.faults[f];
      const bool returned = board_->ranks[rank].lives.load() > 1;
      if (fault.rank == rank && !fault.stops && board_->fault_ns[f].load() != 0 && !returned) return true;
    }
    return false;
  }

  void wake_stopped() {
    for (std::size_t f = 0; f < arguments_.faults.size(); ++f) {
      const Fault& fault = arguments_.faults[f];
      const std::int64_t at = board_->fault_ns[f].load();
      if (!fault.stops || woken_[f] || at == 0) continue;
      if (static_cast<double>(now_ns() - at) / 1e9 < fault.seconds) continue;
      woken_[f] = true;
      const pid_t pid = children_[static_cast<std::size_t>(fault.rank)].pid;
      if (pid > 0) ::kill(pid, SIGCONT);
    }
  }

  // Starts those again that were killed, once.
  Status bring_back() {
    if (held_since_ns_ == 0) held_since_ns_ = now_ns();
    if (started_back_) return {};
    for (const Fault& fault : arguments_.faults) {
      if (fault.stops) continue;
      if (children_[static_cast<std::size_t>(fault.rank)].pid > 0) return {};  // not reaped yet
    }
    started_back_ = true;
    for (const Fault& fault : arguments_.faults) {
      if (fault.stops) continue;
      if (Status s = start_rank(fault.rank); !s.ok()) return s;
    }
    return {};
  }

  [[nodiscard]] bool survivors_ended() const {
    for (int r = 0; r < arguments_.ranks; ++r) {
      if (untouched(arguments_, r) && !children_[static_cast<std::size_t>(r)].well) return false;
    }
    return true;
  }
  [[nodiscard]] bool all_ended() const {
    return std::none_of(children_.begin(), children_.end(), [](const Child& child) { return child.pid > 0; });
  }

  void print_rows(std::uint64_t place) {
    while (rows_.size() < script_.rows().size() && place >= script_.end_of(rows_.size())) {
      if (rows_.empty()) print_start();
      rows_.push_back(account_row(collective_, arguments_, script_, *board_, rows_.size()));
      std::fputs(table_row(rows_.back()).c_str(), stdout);
      std::fflush(stdout);
    }
  }

  void print_start() {
    info_.transport = board_->transport;
    info_.device = board_->device;
    print_heading(arguments_, info_);
    std::fputs(table_header(true).c_str(), stdout);
  }

  // Lines on each fault. False: one of them did not come, or was not recovered from.
  bool print_faults() const {
    bool good = true;
    for (std::size_t f = 0; f < arguments_.faults.size(); ++f) {
      const Fault& fault = arguments_.faults[f];
      const double ms = recovery_ms(arguments_, *board_, f);
      good = good && ms >= 0;
      std::printf("# %s: rank %d in call %llu, last survivor's next commit after %s\n", fault.stops ? "stop" : "kill",
                  fault.rank, static_cast<unsigned long long>(fault.at),
                  ms < 0 ? "(none)" : (std::to_string(ms) + " ms").c_str());
    }
    if (arguments_.join_at < 0) return good;
    std::int64_t full = 0;
    for (int r = 0; r < arguments_.ranks; ++r) full = std::max(full, board_->ranks[r].full_ns.load());
    good = good && full != 0;
    std::printf("# join: all ranks were there again %.1f ms after call %lld was reached\n",
                static_cast<double>(full - held_since_ns_) / 1e6, static_cast<long long>(arguments_.join_at));
    return good;
  }

  int finish() {
    const bool good = print_faults();
    const Totals totals = totals_of(rows_);
    const bool okay = bandwidth_okay(totals.average_bus_bw);
    std::fputs(table_footer(totals.wrong, totals.average_bus_bw).c_str(), stdout);
    info_.end_time = time_text();
    const Status written = write_report(info_, arguments_, rows_, totals, okay);
    std::fflush(stdout);
    if (!written.ok()) return fail(written, 1);
    return good && okay && totals.wrong == 0 ? 0 : 1;
  }

  const Collective& collective_;
  const Arguments& arguments_;
  const Script script_;
  std::vector<std::string> command_;
  RunInfo info_;
  std::unique_ptr<Probe> probe_;
  TemporaryFolder folder_;
  CoordinatorProcess coordinator_;
  BoardOwner board_owner_;
  Board* const board_ = board_owner_.get();
  std::vector<Child> children_;
  std::vector<bool> woken_;
  std::int64_t held_since_ns_ = 0;  // the --join call was reached
  bool started_back_ = false;
  std::vector<Row> rows_;
};

}  // namespace

int run_failure(const Collective& collective, const Arguments& arguments, const std::vector<std::string>& command) {
  return Supervisor(collective, arguments, command).run();
}

}  // namespace regroup::bench

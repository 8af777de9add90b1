// Launcher: the loop behind launch() (launcher.h). Threading: one thread.
#pragma once

#include <cstdarg>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "ft/driver/death_page.h"
#include "tools/launch/child.h"
#include "tools/launch/coordinator_child.h"
#include "tools/launch/death_reporter.h"
#include "tools/launch/event_log.h"
#include "tools/launch/fault_book.h"
#include "tools/launch/launcher.h"
#include "tools/launch/signals.h"

namespace regroup::launch {

class Launcher {
 public:
  Launcher(const LaunchOptions& options, EventLog log, DeathTable table);
  ~Launcher();  // kills what is left: only after an error
  Result<int> run();

 private:
  struct Rank {
    Child child;
    bool finished = false;
    int life = 0;                         // lives begun
    Instant start_at = Instant::never();  // of the next life
    Instant continue_at = Instant::never();
    Instant died_at = Instant::never();  // when its death word was seen
    bool killed_by_us = false, stopped_by_us = false;
  };
  using Fields = nlohmann::json;

  Status start_rank(int rank);
  void wait_for_something();
  void on_signals();
  void watch_deaths(Instant at);
  void watch_ranks();
  void on_stopped(int rank, int signal);
  void on_ended(int rank, const ChildChange& change);
  void watch_coordinator();
  void inject(const Fault& fault);
  void keep_time(Instant at);
  void start_again(int rank);
  void begin_ending(int status);
  void kill_all();
  void event(const char* name, const Fields& fields = Fields::object()) { log_.write(now(), name, fields); }
  void say(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  [[nodiscard]] bool over() const;
  [[nodiscard]] Rank& at(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }

  const LaunchOptions& options_;
  EventLog log_;
  DeathTable table_;
  SignalInbox signals_;
  FaultBook book_;
  CoordinatorChild coordinator_;
  Instant coordinator_continue_at_ = Instant::never();
  std::string address_;
  std::optional<DeathReporter> reporter_;
  std::vector<Rank> ranks_;
  Instant started_{0};
  int restarts_ = 0, first_failure_ = 0;
  std::optional<int> end_with_;  // the run is being ended, with this status
  Instant kill_at_ = Instant::never();
};

}  // namespace regroup::launch

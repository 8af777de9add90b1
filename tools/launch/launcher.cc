#include "tools/launch/launcher.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/clock.h"
#include "ft/driver/client.h"
#include "ft/driver/death_page.h"
#include "tools/launch/child.h"
#include "tools/launch/coordinator_child.h"
#include "tools/launch/event_log.h"
#include "tools/launch/fault_book.h"

namespace regroup::launch {
namespace {

constexpr Duration kTick = Duration::from_ms(5);
constexpr Duration kPatience = Duration::from_s(5);  // between SIGTERM and SIGKILL

struct Rank {
  Child child;
  bool running = false, finished = false, stopped = false, told = false;
  int status = 0;
  Instant continue_at = Instant::never();
  Instant start_at = Instant::never();
  bool by_us = false;  // the signal that comes next is the launcher's
};

class Launcher {
 public:
  Launcher(const LaunchOptions& options, EventLog log, DeathTable table)
      : options_(options), log_(std::move(log)), table_(std::move(table)), book_(options.chaos),
        coordinator_(options.group, options.listen), ranks_(static_cast<std::size_t>(options.ranks)) {}
  ~Launcher() { end_all(); }
  Result<int> run();

 private:
  Status start_rank(int rank);
  void on_signals();
  void on_child(pid_t pid, int status);
  void on_rank_end(int rank, int status);
  void inject(const Fault& fault);
  void watch_deaths();
  void tick();
  void end_all();
  void event(const char* name, nlohmann::json fields = nlohmann::json::object()) { log_.write(now(), name, fields); }
  [[nodiscard]] bool over() const {
    return std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& r) { return r.finished; });
  }

  const LaunchOptions& options_;
  EventLog log_;
  DeathTable table_;
  FaultBook book_;
  CoordinatorChild coordinator_;
  std::string address_;
  std::vector<Rank> ranks_;
  Fd signals_;
  Instant started_{0};
  int restarts_ = 0, first_failure_ = 0;
  std::optional<int> end_with_;
};

Status Launcher::start_rank(int rank) {
  Rank& r = ranks_[static_cast<std::size_t>(rank)];
  table_.reset(static_cast<std::size_t>(rank));
  ChildSetup setup;
  setup.argv = options_.program;
  const std::string number = std::to_string(rank), world = std::to_string(options_.ranks);
  setup.environment = {{"REGROUP_COORDINATOR", address_}, {"REGROUP_GROUP", options_.group}, {"REGROUP_RANK", number},
                       {"RANK", number}, {"LOCAL_RANK", number}, {"REGROUP_WORLD_SIZE", world}, {"WORLD_SIZE", world},
                       {"REGROUP_LAUNCHER", "1"}, {DeathTable::kVariable, std::to_string(table_.fd())}};
  if (!options_.transport.empty()) setup.environment["REGROUP_TRANSPORT"] = options_.transport;
  if (const std::string faults = book_.arm(rank); !faults.empty()) setup.environment["REGROUP_FAILPOINTS"] = faults;
  else setup.unset.push_back("REGROUP_FAILPOINTS");
  setup.keep_fd = table_.fd();
  if (options_.prefix) setup.prefix = rank_prefix(rank, ::isatty(1) == 1);
  Result<Child> child = start_child(setup);
  if (!child) return child.error();
  r = Rank{};
  r.child = std::move(*child);
  r.running = true;
  event("start", {{"rank", rank}, {"pid", r.child.pid}, {"life", restarts_}});
  return {};
}

Result<int> Launcher::run() {
  sigset_t set;
  ::sigemptyset(&set);
  for (int s : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&set, s);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  std::signal(SIGPIPE, SIG_IGN);
  address_ = options_.coordinator;
  if (address_.empty()) {
    if (Status s = coordinator_.start(); !s) return s.error();
    address_ = coordinator_.address();
  }
  started_ = now();
  for (int i = 0; i < options_.ranks; ++i)
    if (Status s = start_rank(i); !s) return s.error();
  while (!over() && !end_with_) {
    std::vector<pollfd> polls{{signals_.get(), POLLIN, 0}};
    for (Rank& r : ranks_)
      for (int fd : {r.child.out.fd(), r.child.err.fd()})
        if (fd >= 0) polls.push_back({fd, POLLIN, 0});
    ::poll(polls.data(), polls.size(), static_cast<int>(kTick.ns / 1'000'000));
    watch_deaths();
    for (Rank& r : ranks_) r.child.pump();
    coordinator_.child().out.pump();
    on_signals();
    tick();
  }
  end_all();
  event("end", {{"status", end_with_.value_or(first_failure_)}});
  return end_with_.value_or(first_failure_);
}

void Launcher::on_signals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof info) == sizeof info)
    if (info.ssi_signo != SIGCHLD) {
      event("interrupted", {{"signal", info.ssi_signo}});
      end_with_ = 128 + static_cast<int>(info.ssi_signo);
    }
  int status = 0;
  for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0;) on_child(pid, status);
}

void Launcher::on_child(pid_t pid, int status) {
  if (pid == coordinator_.child().pid) {
    if (!WIFEXITED(status) && !WIFSIGNALED(status)) return;
    event("coordinator_exit", {{"status", status}});
    if (over() || end_with_) return;
    if (Status s = coordinator_.start(); !s) std::fprintf(stderr, "regroup run: %s\n", s.error().detail.c_str());
    else event("coordinator_start", {{"pid", coordinator_.child().pid}});
    return;
  }
  for (int i = 0; i < options_.ranks; ++i) {
    Rank& r = ranks_[static_cast<std::size_t>(i)];
    if (r.child.pid != pid) continue;
    if (WIFSTOPPED(status)) {
      r.stopped = true;
      if (!std::exchange(r.by_us, false))
        if (std::optional<Fault> f = book_.stopped(i)) {
          r.continue_at = now() + f->length;
          event("fault", {{"rank", i}, {"fault", f->text}, {"kind", "stop"}});
        }
    } else if (WIFCONTINUED(status)) {
      r.stopped = false;
    } else {
      on_rank_end(i, status);
    }
  }
}

void Launcher::on_rank_end(int rank, int status) {
  Rank& r = ranks_[static_cast<std::size_t>(rank)];
  r.child.out.finish();
  r.child.err.finish();
  r.running = false;
  r.child.pid = -1;
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  event("exit", {{"rank", rank}, {"status", code}});
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !std::exchange(r.by_us, false))
    if (std::optional<Fault> f = book_.killed(rank)) event("fault", {{"rank", rank}, {"fault", f->text}, {"kind", "kill"}});
  if (code != 0 && options_.restart && restarts_ < options_.max_restarts) {
    ++restarts_;
    r.start_at = now() + options_.restart_delay;
    return;
  }
  r.finished = true;
  r.status = code;
  if (code != 0 && first_failure_ == 0) first_failure_ = code;
}

void Launcher::inject(const Fault& fault) {
  const int sig = fault.action == Fault::Action::kKill ? SIGKILL : SIGSTOP;
  event("fault", {{"rank", fault.target}, {"fault", fault.text}, {"kind", sig == SIGKILL ? "kill" : "stop"}});
  if (fault.target == kCoordinator) {
    ::kill(coordinator_.child().pid, sig);
    return;
  }
  Rank& r = ranks_[static_cast<std::size_t>(fault.target)];
  r.by_us = true;
  if (sig == SIGSTOP) r.continue_at = now() + fault.length;
  ::kill(r.child.pid, sig);
}

// The word is marked before the kernel tears the process down: tell the coordinator now, reap later.
void Launcher::watch_deaths() {
  for (int i = 0; i < options_.ranks; ++i) {
    Rank& r = ranks_[static_cast<std::size_t>(i)];
    const DeathReading reading = table_.read(static_cast<std::size_t>(i));
    if (!r.running || r.told || reading.inc.is_null() || reading.alive) continue;
    r.told = true;
    if (Status s = report_death({address_, options_.group, std::getenv("REGROUP_SECRET") ? std::getenv("REGROUP_SECRET") : ""},
                                reading.inc, Duration::from_ms(500));
        s)
      event("death", {{"rank", i}, {"incarnation", to_string(reading.inc)}});
  }
}

void Launcher::tick() {
  const Instant at = now();
  if (options_.timeout.ns > 0 && at - started_ > options_.timeout) {
    std::fprintf(stderr, "regroup run: not over after %.0f s, ending it\n", static_cast<double>(options_.timeout.ns) / 1e9);
    event("timeout");
    end_with_ = 124;
    return;
  }
  while (auto fault = book_.due(at - started_, [&](const Fault& f) {
    return f.target == kCoordinator ? coordinator_.child().pid > 0 : ranks_[static_cast<std::size_t>(f.target)].running;
  }))
    inject(*fault);
  for (int i = 0; i < options_.ranks; ++i) {
    Rank& r = ranks_[static_cast<std::size_t>(i)];
    if (r.running && at >= r.continue_at) {
      r.continue_at = Instant::never();
      ::kill(r.child.pid, SIGCONT);
      event("continue", {{"rank", i}});
    }
    if (!r.running && !r.finished && at >= r.start_at) {
      if (Status s = start_rank(i); !s) {
        std::fprintf(stderr, "regroup run: %s\n", s.error().detail.c_str());
        r.finished = true;
        first_failure_ = first_failure_ ? first_failure_ : 127;
      } else {
        event("restart", {{"rank", i}});
      }
    }
  }
}

// Nobody is left behind: SIGTERM to every group, SIGKILL after a bound, all reaped.
void Launcher::end_all() {
  const auto alive = [&] {
    return std::any_of(ranks_.begin(), ranks_.end(), [](const Rank& r) { return r.child.pid > 0; });
  };
  for (Rank& r : ranks_)
    if (r.child.pid > 0) ::kill(-r.child.pid, SIGTERM), ::kill(-r.child.pid, SIGCONT);
  const Instant until = now() + kPatience;
  bool killed = false;
  while (alive()) {
    int status = 0;
    for (pid_t pid; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;)
      for (Rank& r : ranks_)
        if (r.child.pid == pid) r.child.finish(), r.child.pid = -1;
    for (Rank& r : ranks_) r.child.pump();
    if (!killed && now() >= until) {
      killed = true;
      for (Rank& r : ranks_)
        if (r.child.pid > 0) ::kill(-r.child.pid, SIGKILL);
    }
    if (alive()) ::poll(nullptr, 0, 2);
  }
  Child& coordinator = coordinator_.child();
  if (coordinator.pid > 0) {
    ::kill(coordinator.pid, SIGKILL);
    ::waitpid(coordinator.pid, nullptr, 0);
    coordinator.pid = -1;
  }
}

}  // namespace

Result<int> launch(const LaunchOptions& options) {
  EventLog log;
  if (!options.events.empty()) {
    Result<EventLog> opened = EventLog::open(options.events);
    if (!opened) return opened.error();
    log = std::move(*opened);
  }
  Result<DeathTable> table = DeathTable::create(static_cast<std::size_t>(options.ranks));
  if (!table) return table.error();
  return Launcher(options, std::move(log), std::move(*table)).run();
}

}  // namespace regroup::launch

// What the launcher's loop does about what it sees: signals, deaths, stops, the clock.
#include <cstdio>
#include <cstring>

#include "tools/launch/launcher_loop.h"

namespace regroup::launch {
namespace {

std::string ended_how(const ChildChange& change) {
  if (change.signal == 0) return "ended with status " + std::to_string(change.status);
  const char* name = ::sigabbrev_np(change.signal);
  return "died by " + (name != nullptr ? "SIG" + std::string(name) : "signal " + std::to_string(change.signal));
}

const char* kind_of(const Fault& fault) { return fault.action == Fault::Action::kKill ? "kill" : "stop"; }

}  // namespace

void Launcher::say(const char* format, ...) const {
  if (options_.quiet) return;
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "regroup run: %s\n", line);
}

void Launcher::on_signals() {
  while (const int number = signals_.take()) {
    if (number == SIGCHLD) continue;
    event("interrupted", {{"signal", number}});
    if (end_with_)
      kill_at_ = now();  // the second time: no patience
    else
      begin_ending(128 + number);
  }
}

void Launcher::begin_ending(int status) {
  end_with_ = status;
  kill_at_ = now() + options_.grace;
  for (Rank& r : ranks_) {
    if (!r.child.running()) r.finished = true;  // it waits for its next life
    r.child.send_group(SIGTERM);
    r.child.send_group(SIGCONT);
  }
}

void Launcher::kill_all() {
  for (Rank& r : ranks_) r.child.send_group(SIGKILL);
}

void Launcher::watch_deaths(Instant at_time) {
  for (int i = 0; i < options_.ranks; ++i)
    if (const auto who = reporter_->look(static_cast<std::size_t>(i), at_time)) {
      at(i).died_at = at_time;
      log_.write(at_time, "death", {{"rank", i}, {"incarnation", to_string(*who)}});
    }
  for (const Incarnation& who : reporter_->tell(at_time)) event("told", {{"incarnation", to_string(who)}});
}

void Launcher::watch_ranks() {
  for (int i = 0; i < options_.ranks; ++i)
    while (const auto change = at(i).child.poll()) {
      if (change->kind == ChildChange::Kind::kStopped)
        on_stopped(i, change->signal);
      else if (change->kind == ChildChange::Kind::kContinued)
        event("resume", {{"rank", i}});
      else
        on_ended(i, *change);
    }
}

void Launcher::on_stopped(int rank, int signal) {
  event("stop", {{"rank", rank}, {"signal", signal}});
  if (std::exchange(at(rank).stopped_by_us, false)) return;
  const std::optional<Fault> fault = book_.stopped(rank);
  if (!fault) return;  // somebody else's stop is somebody else's to end
  at(rank).continue_at = now() + fault->length;
  event("fault", {{"rank", rank}, {"fault", fault->text}, {"kind", "stop"}});
}

void Launcher::on_ended(int rank, const ChildChange& change) {
  Rank& r = at(rank);
  watch_deaths(now());  // it may have died after the last look: before its words are lost to the next life
  const Instant seen = std::min(r.died_at, now());
  // A wrapper (a shell) that outlives its member passes the signal on as a status.
  if (change.status == 128 + SIGKILL && !r.killed_by_us && !end_with_)
    if (const std::optional<Fault> fault = book_.killed(rank))
      log_.write(seen, "fault", {{"rank", rank}, {"fault", fault->text}, {"kind", "kill"}});
  event("exit", {{"rank", rank}, {"pid", r.child.pid()}, {"status", change.status}, {"signal", change.signal}});
  const bool again = change.status != 0 && options_.restart && !end_with_ && restarts_ < options_.max_restarts;
  if (change.status != 0 && !end_with_)
    say("rank %d %s%s", rank, ended_how(change).c_str(), again ? "; starts again" : "");
  if (again) {
    ++restarts_;
    r.start_at = now() + options_.restart_delay;
    return;
  }
  r.finished = true;
  if (change.status != 0 && first_failure_ == 0) first_failure_ = change.status;
}

void Launcher::watch_coordinator() {
  using Change = CoordinatorChild::Change;
  for (Change change; (change = coordinator_.poll(now())) != Change::kNone;) {
    const std::string& why = coordinator_.trouble();
    if (change == Change::kUp) {
      event("coordinator_start", {{"pid", coordinator_.child().pid()}, {"address", coordinator_.address()}});
    } else if (change == Change::kDied) {
      event("coordinator_exit", {{"how", why}});
      coordinator_continue_at_ = Instant::never();
      say("the coordinator %s; starts again", why.c_str());
    } else if (change == Change::kGivenUp) {
      event("coordinator_gone", {{"how", why}});
      say("the coordinator does not stay (%s); the ranks go on without one", why.c_str());
    }
  }
}

void Launcher::inject(const Fault& fault) {
  const bool kill = fault.action == Fault::Action::kKill;
  event("fault", {{"rank", fault.target}, {"fault", fault.text}, {"kind", kind_of(fault)}});
  if (fault.target == kCoordinator) {
    coordinator_.child().send_group(kill ? SIGKILL : SIGSTOP);
    if (!kill) coordinator_continue_at_ = now() + fault.length;
    return;
  }
  Rank& r = at(fault.target);
  const bool sent = r.child.send_group(kill ? SIGKILL : SIGSTOP);
  if (kill)
    r.killed_by_us = sent;
  else
    r.stopped_by_us = sent, r.continue_at = now() + fault.length;
}

void Launcher::keep_time(Instant at_time) {
  if (at_time >= kill_at_ && !kill_at_.is_never()) {
    event("killing");
    kill_all();
    kill_at_ = at_time + Duration::from_s(1);  // again, for whoever was just being started
  }
  if (end_with_) return;
  if (options_.timeout.ns > 0 && at_time - started_ > options_.timeout) {
    event("timeout");
    say("not over after %.1f s, ending it", static_cast<double>(options_.timeout.ns) / 1e9);
    return begin_ending(124);
  }
  const auto can_happen = [&](const Fault& f) {
    return f.target == kCoordinator ? coordinator_.child().running() : at(f.target).child.running();
  };
  while (const auto fault = book_.due(at_time - started_, can_happen)) inject(*fault);
  if (at_time >= coordinator_continue_at_) {
    coordinator_continue_at_ = Instant::never();
    coordinator_.child().send_group(SIGCONT);
    event("continue", {{"rank", kCoordinator}});
  }
  for (int i = 0; i < options_.ranks; ++i) {
    Rank& r = at(i);
    if (r.child.running() && at_time >= r.continue_at) {
      r.continue_at = Instant::never();
      r.child.send_group(SIGCONT);
      event("continue", {{"rank", i}});
    }
    if (!r.child.running() && !r.finished && at_time >= r.start_at) start_again(i);
  }
}

void Launcher::start_again(int rank) {
  if (Status s = start_rank(rank); s)
    return event("restart", {{"rank", rank}});
  else
    say("rank %d: %s", rank, s.error().detail.c_str());
  at(rank).finished = true;
  if (first_failure_ == 0) first_failure_ = 127;
}

}  // namespace regroup::launch

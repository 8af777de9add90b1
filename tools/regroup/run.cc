// `regroup run`: starts N replicas of a program, restarts the dead, injects faults.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "tools/launch/launcher.h"
#include "tools/regroup/commands.h"

namespace regroup::tools {
namespace {

constexpr const char* kFooter =
    R"(Every rank finds the others through its environment: REGROUP_COORDINATOR, REGROUP_RANK (RANK), REGROUP_WORLD_SIZE
(WORLD_SIZE). The run ends when all ranks have ended: with 0 when each ended with 0 in the end, else with the first
failing status (128 + signal). Ctrl-C ends everything, a second one at once.

Faults: ACTION:TARGET@TRIGGER[+LENGTH], separated by commas. Those of one rank happen in the order written.
  kill:2@step:60                      rank 2 kills itself (SIGKILL) when step 60 begins
  stop:1@step:120+3s                  rank 1 stops itself (SIGSTOP) there, and goes on after 3 s
  kill:3@failpoint:after_first_chunk#2    at the second hit of a named point of the protocol
  kill:0@time:5s                      5 s after the start
  kill:coordinator@time:3s            so dies the coordinator, which is started again

Examples:
  regroup run -n 4 -- ./train --steps 100
  regroup run -n 4 --restart --chaos kill:2@step:60,stop:1@step:120+3s -- ./train
  regroup run -n 2 --transport tcp --events run.jsonl -- python3 train.py)";

struct Arguments {
  launch::LaunchOptions launch;
  std::string chaos;
  double timeout_s = 0, grace_s = 5;
  int restart_delay_ms = 0;
  bool no_prefix = false;
};

int run(Arguments& a) {
  const auto fail = [](const std::string& why) { return std::fprintf(stderr, "regroup run: %s\n", why.c_str()), 2; };
  if (a.launch.program.empty()) return fail("no program; `regroup run -n 4 -- PROGRAM ARGS...`");
  Result<std::vector<launch::Fault>> chaos = launch::parse_chaos(a.chaos, a.launch.ranks);
  if (!chaos) return fail(chaos.error().detail);
  a.launch.chaos = std::move(*chaos);
  a.launch.timeout = Duration::from_ns(static_cast<std::int64_t>(a.timeout_s * 1e9));
  a.launch.grace = Duration::from_ns(static_cast<std::int64_t>(a.grace_s * 1e9));
  a.launch.restart_delay = Duration::from_ms(a.restart_delay_ms);
  a.launch.prefix = !a.no_prefix;
  Result<int> status = launch::launch(a.launch);
  return status ? *status : fail(status.error().detail);
}

}  // namespace

void add_run(CLI::App& app, int& status) {
  auto a = std::make_shared<Arguments>();
  if (const char* group = std::getenv("REGROUP_GROUP"); group != nullptr && *group != '\0') a->launch.group = group;
  CLI::App* c = app.add_subcommand("run",
                                   "Start N replicas of a program, restart the dead, inject faults, end with them:\n"
                                   "regroup run -n N [OPTIONS] -- PROGRAM [ARGS...]");
  c->add_option("-n,--ranks", a->launch.ranks, "replicas")->required()->check(CLI::Range(1, 1024));
  c->add_flag("--restart", a->launch.restart, "start a rank again that died or ended with an error");
  c->add_option("--max-restarts", a->launch.max_restarts, "of all ranks together")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  c->add_option("--restart-delay-ms", a->restart_delay_ms, "between a death and the new start")
      ->check(CLI::Range(0, 86400000))
      ->capture_default_str();
  c->add_option("--timeout", a->timeout_s, "end the run after this many seconds (status 124); 0: never")
      ->check(CLI::Range(0.0, 1e7));
  c->add_option("--grace", a->grace_s, "seconds between SIGTERM and SIGKILL when the run is ended")
      ->check(CLI::Range(0.0, 1e5))
      ->capture_default_str();
  c->add_option("--chaos", a->chaos, "faults to inject, see below");
  c->add_option("--group", a->launch.group, "name of the group")->capture_default_str();
  c->add_option("--transport", a->launch.transport, "auto, shm, tcp, ucx or nccl")->check(CLI::IsMember({"auto", "shm", "tcp", "ucx", "nccl"}));
  c->add_option("--coordinator", a->launch.coordinator,
                "host:port of a coordinator that runs already; else one is started");
  c->add_option("--listen", a->launch.listen, "where the started coordinator listens")->capture_default_str();
  c->add_option("--events", a->launch.events, "write what happened to this file, JSON lines");
  c->add_flag("--no-prefix", a->no_prefix, "forward output without the rank in front");
  c->add_flag("--quiet", a->launch.quiet, "say nothing about deaths and restarts");
  c->add_option("program", a->launch.program, "the program and its arguments, after --");
  c->footer(kFooter);
  c->callback([a, &status] { status = run(*a); });
}

}  // namespace regroup::tools

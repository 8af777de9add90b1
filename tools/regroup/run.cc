// `regroup run`: starts N replicas of a program, restarts the dead, injects faults.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "tools/launch/launcher.h"
#include "tools/regroup/commands.h"

namespace regroup::tools {
namespace {

struct Arguments {
  launch::LaunchOptions launch;
  std::string chaos;
  double timeout_s = 0;
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
  a.launch.restart_delay = Duration::from_ms(a.restart_delay_ms);
  a.launch.prefix = !a.no_prefix;
  Result<int> status = launch::launch(a.launch);
  return status ? *status : fail(status.error().detail);
}

}  // namespace

void add_run(CLI::App& app, int& status) {
  auto a = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("run", "Start N replicas of a program, restart the dead, inject faults, end with them");
  c->add_option("-n,--ranks", a->launch.ranks, "replicas")->required()->check(CLI::Range(1, 1024));
  c->add_flag("--restart", a->launch.restart, "start a rank again that died or ended with an error");
  c->add_option("--max-restarts", a->launch.max_restarts, "of all ranks together")->capture_default_str();
  c->add_option("--restart-delay-ms", a->restart_delay_ms, "between a death and the new start");
  c->add_option("--timeout", a->timeout_s, "end the run after this many seconds (status 124)");
  c->add_option("--chaos", a->chaos, "faults: ACTION:TARGET@TRIGGER[+TIME],... e.g. kill:2@step:60 stop:1@step:120+3s\n"
                                     "kill:3@failpoint:after_first_chunk#2 kill:coordinator@time:3s");
  c->add_option("--group", a->launch.group, "name of the group")->capture_default_str();
  c->add_option("--transport", a->launch.transport, "auto, shm or tcp")->check(CLI::IsMember({"auto", "shm", "tcp"}));
  c->add_option("--coordinator", a->launch.coordinator, "host:port of a coordinator that runs already; else one is started");
  c->add_option("--listen", a->launch.listen, "where the started coordinator listens")->capture_default_str();
  c->add_option("--events", a->launch.events, "write what happened to this file, JSON lines");
  c->add_flag("--no-prefix", a->no_prefix, "forward output without the rank in front");
  c->add_option("program", a->launch.program, "the program and its arguments, after --");
  c->footer("Examples:\n  regroup run -n 4 -- ./train --steps 100\n"
            "  regroup run -n 4 --restart --chaos kill:2@step:60 -- ./train\nCtrl-C ends everything.");
  c->callback([a, &status] { status = run(*a); });
}

}  // namespace regroup::tools

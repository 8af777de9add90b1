// `regroup coordinator`: decides the membership of one group, as a process of its own.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>

#include "ft/driver/coordinator_exit.h"
#include "ft/driver/coordinator_server.h"
#include "tools/regroup/commands.h"

namespace regroup::tools {
namespace {

struct Arguments {
  CoordinatorOptions server;
  std::string secret_file;
  bool create = false, adopt = false, detach = false;
  int suspicion_ms = 1000, wedge_deadline_ms = 1000, idle_exit_s = 0;
};

CoordinatorServer* running = nullptr;  // for the signal handler of this process

int fail(const Error& error) {
  std::fprintf(stderr, "regroup coordinator: %s\n", error.detail.c_str());
  return error.code == Code::kSystem && error.detail.find("in use") != std::string::npos ? kCoordinatorAddressInUse
                                                                                         : kCoordinatorFailed;
}

// The parent's exit status says whether it listens; the child goes on in a session of its own.
void detach() {
  if (const pid_t child = ::fork(); child != 0) ::_exit(child > 0 ? kCoordinatorListens : kCoordinatorFailed);
  ::setsid();
  const int null = ::open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
}

int run(Arguments& a) {
  if (const char* secret = std::getenv("REGROUP_SECRET")) a.server.secret = secret;
  if (!a.secret_file.empty()) {
    std::ifstream in(a.secret_file);
    if (!std::getline(in, a.server.secret)) return fail({Code::kConfig, "--secret-file: cannot read " + a.secret_file});
  }
  a.server.log = a.create  ? CoordinatorOptions::Log::kCreate
                 : a.adopt ? CoordinatorOptions::Log::kAdopt
                           : CoordinatorOptions::Log::kOpen;
  a.server.suspicion = Duration::from_ms(a.suspicion_ms);
  a.server.wedge_deadline = Duration::from_ms(a.wedge_deadline_ms);
  a.server.idle_exit = Duration::from_s(a.idle_exit_s);
  a.server.remove_log_at_end = a.adopt;
  Result<std::unique_ptr<CoordinatorServer>> server = CoordinatorServer::open(a.server);
  if (!server) return fail(server.error());
  running = server->get();
  for (int sig : {SIGINT, SIGTERM}) std::signal(sig, [](int) { running->stop(); });
  for (int sig : {SIGPIPE, SIGXFSZ}) std::signal(sig, SIG_IGN);  // a failed write says so itself
  std::printf("coordinator %s\n", (*server)->address().c_str());
  std::fflush(stdout);
  if (a.detach) detach();
  if (Status s = (*server)->run(); !s) return fail(s.error());
  return (*server)->all_lost() ? kCoordinatorAllLost : 0;
}

}  // namespace

void add_coordinator(CLI::App& app, int& status) {
  auto a = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand(
      "coordinator", "Decide the membership of one group; prints `coordinator HOST:PORT` when it listens");
  c->add_option("--listen", a->server.listen, "address, [v6]:port or host:port; port 0: any")->capture_default_str();
  c->add_option("--log", a->server.log_file, "the view log")->required();
  c->add_option("--group", a->server.group, "name of the group")->capture_default_str();
  c->add_option("--secret-file", a->secret_file, "first line: the group's secret (else REGROUP_SECRET)");
  c->add_option("--suspicion-ms", a->suspicion_ms, "silence after which a member is suspected")
      ->check(CLI::Range(200, 600000))
      ->capture_default_str();
  c->add_option("--wedge-deadline-ms", a->wedge_deadline_ms, "who has not answered a view change by then is dropped")
      ->check(CLI::Range(10, 600000))
      ->capture_default_str();
  c->add_option("--idle-exit", a->idle_exit_s, "end when nobody was connected for this many seconds; 0: never")
      ->check(CLI::Range(0, 1000000));
  CLI::Option* create = c->add_flag("--create", a->create, "make a new log; refuses an existing one");
  c->add_flag("--adopt", a->adopt,
              "continue the log while a member of its last view lives on this host, else make a new one")
      ->excludes(create);
  c->add_flag("--detach", a->detach, "go on in the background once it listens");
  c->add_flag("--exit-when-left", a->server.exit_when_left, "end when every member has left");
  c->add_flag("--exit-when-lost", a->server.exit_when_lost,
              "end with status 4 when all members have died: whoever comes then needs a new log");
  c->callback([a, &status] { status = run(*a); });
}

}  // namespace regroup::tools

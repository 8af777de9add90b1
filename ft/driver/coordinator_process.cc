#include "ft/driver/coordinator_process.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <vector>

#include "base/clock.h"
#include "ft/driver/coordinator_exit.h"
#include "ft/driver/net.h"
#include "transport/wire/frame.h"

namespace regroup {
namespace {

bool runnable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

std::string read_words(int fd) {
  std::string text(4096, '\0');
  const ssize_t n = ::pread(fd, text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

Result<std::string> find_regroup_program() {
  if (const char* named = std::getenv("REGROUP_BIN"); named != nullptr && *named != '\0') {
    if (runnable(named)) return std::string(named);
    return {Code::kConfig, std::string("REGROUP_BIN=") + named + " is not a program"};
  }
  Dl_info here{};
  if (::dladdr(reinterpret_cast<const void*>(&find_regroup_program), &here) != 0 && here.dli_fname != nullptr) {
    const std::string file = here.dli_fname;
    const std::size_t slash = file.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : file.substr(0, slash);
    // Installed or built as a library beside bin, also below a multiarch folder; or linked into a program there.
    for (const char* way : {"/../bin/regroup", "/../../bin/regroup", "/regroup"})
      if (runnable(folder + way)) return folder + way;
  }
  if (const char* path = std::getenv("PATH")) {
    std::istringstream folders(path);
    for (std::string folder; std::getline(folders, folder, ':');)
      if (!folder.empty() && runnable(folder + "/regroup")) return folder + "/regroup";
  }
  return {Code::kConfig, "the program `regroup` was not found: put it on PATH, or set REGROUP_BIN"};
}

Result<Autostart> autostart_at(const std::string& coordinator, const std::string& group) {
  auto where = net::parse_host_port(coordinator);
  if (!where) return where.error();
  auto addresses = net::resolve(*where);
  if (!addresses) return addresses.error();
  if (where->port == 0 || !net::is_local(addresses->front()))
    return {Code::kConfig, coordinator +
                               " is not an address of this host, so no coordinator is started there: run "
                               "`regroup coordinator` and set REGROUP_COORDINATOR=host:port"};
  auto program = find_regroup_program();
  if (!program) return program.error();
  Autostart how;
  how.enabled = true;
  how.program = std::move(*program);
  const char* folder = std::getenv("TMPDIR");
  std::ostringstream name;
  name << (folder != nullptr && *folder != '\0' ? folder : "/tmp") << "/regroup-" << ::geteuid() << '-' << std::hex
       << wire::group_hash(group) << std::dec << '-' << where->port << ".log";
  how.log_file = name.str();
  return how;
}

CoordinatorProcess::CoordinatorProcess(std::string coordinator, std::string group, std::string secret, Autostart how)
    : coordinator_(std::move(coordinator)),
      group_(std::move(group)),
      secret_(std::move(secret)),
      how_(std::move(how)) {}

CoordinatorProcess::~CoordinatorProcess() {
  if (pid_ > 0) ::waitpid(pid_, nullptr, WNOHANG);  // it detaches by itself; at worst its parent's exit reaps it
}

Status CoordinatorProcess::spawn() {
  words_.reset(::memfd_create("regroup-coordinator", MFD_CLOEXEC));
  if (!words_) return net::system_error("memfd_create", errno);
  const std::string idle = std::to_string(how_.idle_exit.ns / 1'000'000'000);
  std::vector<std::string> args = {
      how_.program,  "coordinator", "--listen", coordinator_,       "--group",     group_, "--log",
      how_.log_file, "--adopt",     "--detach", "--exit-when-left", "--idle-exit", idle};
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  // The secret goes by the environment, which other users cannot read; a command line they can.
  std::vector<std::string> vars;
  for (char** e = environ; *e != nullptr; ++e)
    if (std::strncmp(*e, "REGROUP_SECRET=", 15) != 0) vars.emplace_back(*e);
  if (!secret_.empty()) vars.push_back("REGROUP_SECRET=" + secret_);
  std::vector<char*> envp;
  for (std::string& v : vars) envp.push_back(v.data());
  envp.push_back(nullptr);

  posix_spawn_file_actions_t files;
  posix_spawnattr_t attr;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawnattr_init(&attr);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_adddup2(&files, words_.get(), 2);
  ::posix_spawn_file_actions_addclosefrom_np(&files, 3);  // nothing of this process lives on in it
  sigset_t none, all;
  ::sigemptyset(&none);
  ::sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attr, &none);
  ::posix_spawnattr_setsigdefault(&attr, &all);
  ::posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  const int failed = ::posix_spawn(&pid_, how_.program.c_str(), &files, &attr, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attr);
  if (failed == 0) return {};
  pid_ = -1;
  return net::system_error("cannot start " + how_.program, failed);
}

std::optional<Result<CoordinatorProcess::Started>> CoordinatorProcess::poll() {
  if (pid_ <= 0) return std::nullopt;
  int state = 0;
  const pid_t got = ::waitpid(pid_, &state, WNOHANG);
  if (got == 0) return std::nullopt;
  pid_ = -1;
  if (got < 0) return Started::kListens;  // somebody else has reaped it: the connection will tell
  if (WIFEXITED(state) && WEXITSTATUS(state) == kCoordinatorListens) return Started::kListens;
  if (WIFEXITED(state) && WEXITSTATUS(state) == kCoordinatorAddressInUse) return Started::kAddressInUse;
  const std::string words = read_words(words_.get());
  return Result<Started>(Code::kUnavailable, "the coordinator could not be started at " + coordinator_ + ": " +
                                                 (words.empty() ? "no reason given by " + how_.program : words));
}

Status CoordinatorProcess::start_and_wait(Duration bound) {
  const Instant until = now() + bound;
  if (Status s = spawn(); !s) return s;
  while (now() < until) {
    if (auto over = poll()) return over->ok() ? Status{} : Status{over->error()};
    ::usleep(2000);
  }
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
  pid_ = -1;
  return {Code::kUnavailable, "the coordinator did not start at " + coordinator_ + " within " +
                                  std::to_string(bound.ns / 1'000'000) + " ms"};
}

}  // namespace regroup

#include "tools/launch/coordinator_child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/clock.h"
#include "base/rng.h"

namespace regroup::launch {

CoordinatorChild::~CoordinatorChild() {
  if (log_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove(log_, ignored);
}

Status CoordinatorChild::start() {
  const bool first = address_.empty();
  if (first) {
    const char* tmp = std::getenv("TMPDIR");
    log_ = std::string(tmp ? tmp : "/tmp") + "/regroup-view-log-" + std::to_string(random_u64());
  }
  // Its standard output is read here for the one line with the address, so it is not started as other children are.
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return {Code::kSystem, std::string("pipe: ") + std::strerror(errno)};
  Fd read_end(pipe_fds[0]), write_end(pipe_fds[1]);
  std::vector<std::string> args{"/proc/self/exe", "coordinator", "--listen", first ? listen_ : address_, "--log", log_,
                                "--group", group_};
  if (first) args.push_back("--create");
  std::vector<char*> argv;
  for (std::string& a : args) argv.push_back(a.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) return {Code::kSystem, std::string("fork: ") + std::strerror(errno)};
  if (pid == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::dup2(write_end.get(), 1);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  ::setpgid(pid, pid);
  write_end.reset();
  child_.pid = pid;
  std::string line;
  const Instant until = now() + Duration::from_s(10);
  while (line.find('\n') == line.npos && now() < until) {
    pollfd p{read_end.get(), POLLIN, 0};
    if (::poll(&p, 1, 100) <= 0) continue;
    char part[256];
    const ssize_t n = ::read(read_end.get(), part, sizeof part);
    if (n <= 0) break;
    line.append(part, static_cast<std::size_t>(n));
  }
  if (!line.starts_with("coordinator ")) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    child_.pid = -1;
    return {Code::kUnavailable, "the coordinator did not start at " + (first ? listen_ : address_)};
  }
  address_ = line.substr(12, line.find('\n') - 12);
  child_.out = Output(std::move(read_end), 2, "[coordinator] ");
  return {};
}

}  // namespace regroup::launch

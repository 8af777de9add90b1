#include "tools/launch/child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

namespace regroup::launch {
namespace {

Error failed(const std::string& what) { return {Code::kSystem, what + ": " + std::strerror(errno)}; }

struct Pipe {
  Fd read, write;
  bool open() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    read.reset(ends[0]), write.reset(ends[1]);
    return true;
  }
};

// In the child, after the fork. Returns only when the program cannot be executed (errno).
void become(const ChildSetup& setup, char* const* argv, pid_t parent, int out, int err) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(125);  // it died before the line above
  // All of them: what ran the launcher may have had others ignored (a shell SIGQUIT, Python SIGXFSZ).
  for (int number = 1; number <= SIGRTMAX; ++number) std::signal(number, SIG_DFL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const std::string& name : setup.unset) ::unsetenv(name.c_str());
  for (const auto& [name, value] : setup.environment) ::setenv(name.c_str(), value.c_str(), 1);
  if (setup.keep_fd >= 0) ::fcntl(setup.keep_fd, F_SETFD, 0);
  if (const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC); null >= 0) ::dup2(null, 0);
  ::dup2(out, 1);
  ::dup2(err, 2);
  ::execvp(argv[0], argv);
}

}  // namespace

Result<Child> Child::start(const ChildSetup& setup) {
  Pipe out, err, word;
  if (!out.open() || !err.open() || !word.open()) return failed("pipe");
  std::vector<char*> argv;
  for (const std::string& a : setup.argv) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return failed("fork");
  if (pid == 0) {
    become(setup, argv.data(), parent, out.write.get(), err.write.get());
    const int why = errno;
    (void)!::write(word.write.get(), &why, sizeof why);
    ::_exit(127);
  }
  ::setpgid(pid, pid);
  word.write.reset();
  int why = 0;
  ssize_t got;
  while ((got = ::read(word.read.get(), &why, sizeof why)) < 0 && errno == EINTR) {
  }
  if (got == sizeof why) {
    ::waitpid(pid, nullptr, 0);
    errno = why;
    return failed("cannot run '" + setup.argv[0] + "'");
  }
  Child child;
  child.pid_ = pid;
  child.out_ = Output(std::move(out.read), setup.out_to, setup.prefix);
  child.err_ = Output(std::move(err.read), setup.err_to, setup.prefix);
  return child;
}

std::optional<ChildChange> Child::poll() {
  if (pid_ <= 0) return std::nullopt;
  siginfo_t info{};
  const auto id = static_cast<id_t>(pid_);
  if (::waitid(P_PID, id, &info, WSTOPPED | WCONTINUED | WNOHANG) == 0 && info.si_pid == pid_) {
    const bool stopped = info.si_code == CLD_STOPPED;
    return ChildChange{stopped ? ChildChange::Kind::kStopped : ChildChange::Kind::kContinued, 0,
                       stopped ? info.si_status : 0};
  }
  info = {};
  if (::waitid(P_PID, id, &info, WEXITED | WNOWAIT | WNOHANG) != 0 || info.si_pid != pid_) return std::nullopt;
  ::kill(-pid_, SIGKILL);  // its group, while its pid is still taken
  ::waitid(P_PID, id, &info, WEXITED);
  pid_ = -1;
  out_.finish(), err_.finish();
  const int number = info.si_code == CLD_EXITED ? 0 : info.si_status;
  return ChildChange{ChildChange::Kind::kEnded, number == 0 ? info.si_status : 128 + number, number};
}

bool Child::send(int signal) const { return pid_ > 0 && ::kill(pid_, signal) == 0; }
bool Child::send_group(int signal) const { return pid_ > 0 && ::kill(-pid_, signal) == 0; }

}  // namespace regroup::launch

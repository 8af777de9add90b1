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

}  // namespace

Result<Child> start_child(const ChildSetup& setup) {
  int out[2], err[2], word[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return failed("pipe");
  Fd out_read(out[0]), out_write(out[1]);
  if (::pipe2(err, O_CLOEXEC) != 0) return failed("pipe");
  Fd err_read(err[0]), err_write(err[1]);
  if (::pipe2(word, O_CLOEXEC) != 0) return failed("pipe");
  Fd word_read(word[0]), word_write(word[1]);
  std::vector<char*> argv;
  for (const std::string& a : setup.argv) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) return failed("fork");
  if (pid == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(125);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const std::string& name : setup.unset) ::unsetenv(name.c_str());
    for (const auto& [name, value] : setup.environment) ::setenv(name.c_str(), value.c_str(), 1);
    if (setup.keep_fd >= 0) ::fcntl(setup.keep_fd, F_SETFD, 0);
    ::dup2(out_write.get(), 1);
    ::dup2(err_write.get(), 2);
    ::execvp(argv[0], argv.data());
    const int why = errno;
    (void)!::write(word_write.get(), &why, sizeof why);
    ::_exit(127);
  }
  ::setpgid(pid, pid);
  word_write.reset();
  int why = 0;
  if (::read(word_read.get(), &why, sizeof why) == sizeof why) {
    ::waitpid(pid, nullptr, 0);
    errno = why;
    return failed("cannot run '" + setup.argv[0] + "'");
  }
  Child child;
  child.pid = pid;
  child.out = Output(std::move(out_read), 1, setup.prefix);
  child.err = Output(std::move(err_read), 2, setup.prefix);
  return child;
}

}  // namespace regroup::launch

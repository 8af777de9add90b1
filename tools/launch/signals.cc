#include "tools/launch/signals.h"

#include <sys/signalfd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace regroup::launch {

Status SignalInbox::open() {
  sigset_t wanted;
  ::sigemptyset(&wanted);
  for (int number : {SIGCHLD, SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&wanted, number);
  fd_.reset(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd_) return {Code::kSystem, std::string("signalfd: ") + std::strerror(errno)};
  ::pthread_sigmask(SIG_BLOCK, &wanted, &earlier_mask_);
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &earlier_pipe_);
  return {};
}

int SignalInbox::take() {
  signalfd_siginfo info{};
  return ::read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

SignalInbox::~SignalInbox() {
  if (!fd_) return;
  while (take() != 0) {
  }  // a second Ctrl-C has been answered by what we did at the first
  ::sigaction(SIGPIPE, &earlier_pipe_, nullptr);
  ::pthread_sigmask(SIG_SETMASK, &earlier_mask_, nullptr);
}

}  // namespace regroup::launch

// SignalInbox: the launcher's signals as a descriptor. Blocks SIGCHLD, SIGINT, SIGTERM and SIGHUP for the calling
// thread and ignores SIGPIPE while it lives; puts both back at its end. Threading: one thread, that of the launcher.
#pragma once

#include <csignal>

#include "base/fd.h"
#include "base/result.h"

namespace regroup::launch {

class SignalInbox {
 public:
  SignalInbox() = default;
  ~SignalInbox();
  SignalInbox(const SignalInbox&) = delete;
  SignalInbox& operator=(const SignalInbox&) = delete;
  Status open();  // kSystem

  [[nodiscard]] int fd() const { return fd_.get(); }  // for poll
  // The next signal that came; 0: none.
  int take();

 private:
  Fd fd_;
  sigset_t earlier_mask_{};
  struct sigaction earlier_pipe_ {};
};

}  // namespace regroup::launch

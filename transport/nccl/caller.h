// Caller: a thread that makes calls which may never return. Who asks for one waits with a deadline, or looks whether it
// is done.
//
// Ownership: what a call uses must be owned by the call (it may outlive its Caller and everybody else). The thread is
// detached: when the Caller goes, calls that have not begun are dropped and the thread ends after the one at hand, if
// that ever returns. Threading: any thread. After a call that hangs: those behind it never begin; nothing else is
// harmed.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/time.h"

namespace regroup::nccl {

class Caller {
 public:
  using Call = std::shared_ptr<std::atomic<bool>>;  // true: it has returned
  Caller();
  ~Caller();
  Caller(const Caller&) = delete;
  Caller& operator=(const Caller&) = delete;

  Call start(std::function<void()> call);
  // False: not yet, at the deadline.
  bool wait(const Call& call, Instant deadline);
  // Everything that was started has returned.
  [[nodiscard]] bool idle() const;
  // No more calls; true: the thread has ended within the deadline.
  bool end(Instant deadline);

 private:
  struct State;
  static void loop(const std::shared_ptr<State>& state);
  std::shared_ptr<State> state_;
};

}  // namespace regroup::nccl

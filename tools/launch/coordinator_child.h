// CoordinatorChild: the coordinator of a run, as a child of the launcher; started again with the same log and address
// when it dies, with a new log where it ended because all members had died. It lives in a temporary folder that is removed at the end.
// After a failure: starts are repeated with a growing pause and given up after kMaxStarts lives that ended at once; the
// ranks go on without one (and fail kUnavailable where they need it). Threading: one thread.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "tools/launch/child.h"

namespace regroup::launch {

class CoordinatorChild {
 public:
  enum class Change { kNone, kUp, kDied, kStopped, kContinued, kGivenUp };
  static constexpr int kMaxStarts = 20;

  CoordinatorChild(std::string program, std::string group, std::string listen)
      : program_(std::move(program)), group_(std::move(group)), listen_(std::move(listen)) {}
  ~CoordinatorChild();  // ends it, removes the folder
  CoordinatorChild(const CoordinatorChild&) = delete;
  CoordinatorChild& operator=(const CoordinatorChild&) = delete;

  // Starts it for the first time and waits, at most `bound`, until it listens. kUnavailable, kSystem.
  Status start(Duration bound);
  // One thing that happened; kNone: nothing more for now. Starts it again when its time has come.
  Change poll(Instant at);
  void end();

  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const std::string& trouble() const { return trouble_; }
  Child& child() { return child_; }

 private:
  Status spawn(Instant at);
  const std::string program_, group_, listen_;
  std::string folder_, address_, trouble_;
  Child child_;
  bool anew_ = false, listens_ = false, told_up_ = false, given_up_ = false;
  int short_lives_ = 0;
  Instant started_{0}, again_at_ = Instant::never();
};

}  // namespace regroup::launch

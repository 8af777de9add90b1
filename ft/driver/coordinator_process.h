// CoordinatorProcess: starts `regroup coordinator` as a detached process that outlives whoever started it.
//
// Where to find the program, where the log lies (the same for every member: from uid, group and port), and the start
// itself: spawn returns at once, poll tells how it went (the command detaches after it listens, so its exit status says
// whether it does). Threading: one thread per object; nothing blocks but start_and_wait.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "ft/driver/control.h"

namespace regroup {

// The `regroup` program: REGROUP_BIN, beside this library (../bin, or the same folder), then PATH. kConfig: nowhere.
[[nodiscard]] Result<std::string> find_regroup_program();
// What autostart needs for a coordinator at host:port. kConfig: the host is not this one, or there is no program.
[[nodiscard]] Result<Autostart> autostart_at(const std::string& coordinator, const std::string& group);

class CoordinatorProcess {
 public:
  CoordinatorProcess(std::string coordinator, std::string group, std::string secret, Autostart how);
  ~CoordinatorProcess();
  CoordinatorProcess(const CoordinatorProcess&) = delete;
  CoordinatorProcess& operator=(const CoordinatorProcess&) = delete;

  [[nodiscard]] Status spawn();
  [[nodiscard]] bool running() const { return pid_ > 0; }
  // Once the start is over: what came of it, or what it said. Empty before.
  enum class Started : std::uint8_t { kListens, kAddressInUse };  // in use: most often another one was faster
  [[nodiscard]] std::optional<Result<Started>> poll();
  [[nodiscard]] Status start_and_wait(Duration bound);

 private:
  std::string coordinator_, group_, secret_;
  Autostart how_;
  pid_t pid_ = -1;
  Fd words_;  // memfd that takes what it says
};

}  // namespace regroup

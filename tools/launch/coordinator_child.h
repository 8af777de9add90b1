// CoordinatorChild: the coordinator of a run, as a child of the launcher; started again with the same log and port if it dies.
#pragma once

#include <string>

#include "base/result.h"
#include "tools/launch/child.h"

namespace regroup::launch {

class CoordinatorChild {
 public:
  CoordinatorChild(std::string group, std::string listen) : group_(std::move(group)), listen_(std::move(listen)) {}
  ~CoordinatorChild();  // removes the log
  CoordinatorChild(const CoordinatorChild&) = delete;
  CoordinatorChild& operator=(const CoordinatorChild&) = delete;

  // Starts it (again) and waits, bounded, until it listens.
  Status start();
  [[nodiscard]] const std::string& address() const { return address_; }
  Child& child() { return child_; }

 private:
  std::string group_, listen_, address_, log_;
  Child child_;
};

}  // namespace regroup::launch

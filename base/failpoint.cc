#include "base/failpoint.h"

#include <unistd.h>

#include <algorithm>
#include <csignal>

#include <charconv>
#include <string>

namespace regroup {

const char* name_of(Point point) {
  constexpr const char* names[] = {"step",           "after_submit",    "after_first_chunk", "after_placed", "after_prepared",
                                   "before_copy_out", "after_commit", "wedged",            "installed",   "map_segment"};
  static_assert(std::size(names) == static_cast<std::size_t>(Point::kCount));
  return names[static_cast<std::size_t>(point)];
}

Status Failpoints::arm(std::string_view spec) {
  while (!spec.empty()) {
    const std::string_view item = spec.substr(0, spec.find(','));
    spec.remove_prefix(std::min(spec.size(), item.size() + 1));
    const std::size_t eq = item.find('=');
    const std::string_view action = eq == item.npos ? "" : item.substr(eq + 1);
    std::string_view name = item.substr(0, eq);
    Armed armed{Point::kCount, 1, Action::kKill};
    if (const std::size_t hash = name.find('#'); hash != name.npos) {
      const std::string_view n = name.substr(hash + 1);
      const auto [end, error] = std::from_chars(n.data(), n.data() + n.size(), armed.at);
      if (error != std::errc{} || end != n.data() + n.size())
        return {Code::kConfig, "failpoint '" + std::string(item) + "': the number after # is not one"};
      name = name.substr(0, hash);
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(Point::kCount); ++i)
      if (name == name_of(static_cast<Point>(i))) armed.point = static_cast<Point>(i);
    if (armed.point == Point::kCount) return {Code::kConfig, "unknown failpoint '" + std::string(name) + "'"};
    if (action == "kill") armed.action = Action::kKill;
    else if (action == "stop") armed.action = Action::kStop;
    else if (action == "call") armed.action = Action::kCall;
    else if (action == "fail" && armed.point == Point::kMapSegment) armed.action = Action::kFail;
    else return {Code::kConfig, "failpoint '" + std::string(item) + "': action must be kill, stop or call" +
                                    (armed.point == Point::kMapSegment ? " or fail" : "")};
    list_.push_back(armed);
  }
  armed_.store(!list_.empty(), std::memory_order_relaxed);
  return {};
}

bool Failpoints::fire(Point point, std::uint64_t value) {
  std::vector<Action> due;
  bool fails = false;
  {
    std::lock_guard lock(mutex_);
    std::uint64_t& hits = hits_[static_cast<std::size_t>(point)];
    hits = point == Point::kStep ? value : hits + 1;
    for (Armed& a : list_) {
      fails = fails || (a.action == Action::kFail && a.point == point && hits >= a.at);
      if (a.done || a.action == Action::kFail || a.point != point || a.at != hits) continue;
      a.done = true;
      due.push_back(a.action);
    }
  }
  for (const Action action : due) {  // outside the lock: the hook may meet other points
    if (action == Action::kKill) ::raise(SIGKILL);
    else if (action == Action::kStop) ::kill(::getpid(), SIGSTOP);
    else if (hook_) hook_(point);
  }
  return fails;
}

}  // namespace regroup

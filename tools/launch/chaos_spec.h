// Chaos: the faults of a run as text, "kill:2@step:60,stop:1@step:120+3s,kill:3@failpoint:after_first_chunk#2,
// kill:coordinator@time:3s". Values; parsing only, no clock and no process here.
//
//   FAULT   := ACTION ':' TARGET '@' TRIGGER ['+' DURATION]
//   ACTION  := kill (SIGKILL) | stop (SIGSTOP, then SIGCONT after DURATION, which only stop takes and must have)
//   TARGET  := a rank | coordinator (time faults only)
//   TRIGGER := step:N              when step N begins at that rank
//            | failpoint:NAME[#K]  at the K-th hit (default 1) of a protocol point in one life of that rank
//            | time:DURATION       so long after the ranks were started
//   DURATION:= a number with ms, s or m
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/failpoint.h"
#include "base/result.h"
#include "base/time.h"

namespace regroup::launch {

inline constexpr int kCoordinator = -1;  // as a target

struct Fault {
  enum class Action : std::uint8_t { kKill, kStop } action = Action::kKill;
  enum class Trigger : std::uint8_t { kStep, kFailpoint, kTime } trigger = Trigger::kStep;
  int target = 0;              // rank, or kCoordinator
  std::uint64_t count = 1;     // the step, or the hit of the point
  Point point = Point::kStep;  // kFailpoint
  Duration at;                 // kTime
  Duration length;             // kStop: until SIGCONT
  std::string text;            // as it was written
};

// kConfig: says which fault, and what is wrong with it.
Result<std::vector<Fault>> parse_chaos(std::string_view spec, int ranks);
// "3s", "250ms", "1.5m"; positive, at most a day.
Result<Duration> parse_duration(std::string_view text);

}  // namespace regroup::launch

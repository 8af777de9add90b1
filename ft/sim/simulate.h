// Runs seeds: each in a world of its own, several at a time. The public face of ft/sim.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "ft/sim/world.h"

namespace regroup::sim {

struct SimOptions {
  std::uint64_t first = 0, last = 1000;  // seeds: first .. last - 1
  std::uint32_t members = 0;             // 0: drawn, 3 to 16
  std::uint32_t steps = 50;
  unsigned threads = 0;                  // 0: as many as cores. A seeded bug allows for one only
  DataBug bug = DataBug::kNone;
  std::size_t stop_after = 0;            // violations; 0: run all seeds
};

struct Violation {
  std::uint64_t seed = 0;
  std::string what;
};

struct Totals {
  std::uint64_t seeds = 0, lost = 0, events = 0, view_changes = 0, commits = 0, failures = 0, redos = 0, joins = 0, restarts = 0;
  std::uint64_t messages = 0, messages_failed = 0;  // ends of messages
  std::uint64_t joins_in_change = 0, joins_of_two = 0, snapshots_again = 0;
  std::array<std::uint64_t, kFaultKinds> runs_with{};  // runs in which a fault of the kind happened
  std::vector<Violation> violations;                   // by seed
};

// One seed. `log`: null, or what the history is appended to.
[[nodiscard]] RunReport simulate(std::uint64_t seed, const SimOptions& options, std::string* log = nullptr);

// `progress` is called now and then from any thread, one at a time.
[[nodiscard]] Totals simulate_all(const SimOptions& options, const std::function<void(const Totals&)>& progress = {});

// The command that runs one seed again, with its history.
[[nodiscard]] std::string replay_command(std::uint64_t seed, const SimOptions& options);

}  // namespace regroup::sim

#include "ft/sim/simulate.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

namespace regroup::sim {

RunReport simulate(std::uint64_t seed, const SimOptions& options, std::string* log) {
  const Scenario scenario = draw_scenario(seed, options.members, options.steps);
  World world(scenario, options.bug, log);
  return world.run();
}

Totals simulate_all(const SimOptions& options, const std::function<void(const Totals&)>& progress) {
  Totals totals;
  std::mutex mutex;
  std::atomic<std::uint64_t> next{options.first};
  std::atomic<bool> enough{false};
  const auto work = [&] {
    while (!enough.load()) {
      const std::uint64_t seed = next.fetch_add(1);
      if (seed >= options.last) return;
      const RunReport run = simulate(seed, options);
      std::lock_guard lock(mutex);
      ++totals.seeds;
      totals.lost += run.lost;
      totals.events += run.events, totals.view_changes += run.view_changes, totals.commits += run.commits;
      totals.failures += run.failures, totals.redos += run.redos, totals.joins += run.joins, totals.restarts += run.restarts;
      totals.joins_in_change += run.joins_in_change, totals.joins_of_two += run.joins_of_two, totals.snapshots_again += run.snapshots_again;
      totals.messages += run.messages, totals.messages_failed += run.messages_failed;
      for (std::size_t i = 0; i < kFaultKinds; ++i) totals.runs_with[i] += run.faults[i] != 0;
      if (!run.violation.empty()) {
        totals.violations.push_back({seed, run.violation});
        if (options.stop_after != 0 && totals.violations.size() >= options.stop_after) enough = true;
      }
      if (progress) progress(totals);
    }
  };
  const unsigned threads = options.threads != 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& t : others) t.join();
  std::sort(totals.violations.begin(), totals.violations.end(), [](auto& a, auto& b) { return a.seed < b.seed; });
  return totals;
}

std::string replay_command(std::uint64_t seed, const SimOptions& options) {
  std::string command = "regroup sim --seeds " + std::to_string(seed) + ":" + std::to_string(seed + 1) + " --steps " + std::to_string(options.steps);
  if (options.members != 0) command += " --members " + std::to_string(options.members);
  return command + " --history FILE";
}

}  // namespace regroup::sim

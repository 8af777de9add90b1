#include "tools/chaos/tally.h"

#include <algorithm>
#include <cmath>

namespace regroup::chaos {

double percentile(std::vector<double> values, double percent) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(rank, 1) - 1];
}

void Tally::recovered(const std::string& kind, const std::string& arena, const std::string& how, Duration view, Duration commit) {
  if (commit.ns > 0) next_commit_ms[kind].push_back(commit.ms());
  if (view.ns <= 0) return;
  recovery_ms[kind].push_back(view.ms());
  by_arena_ms[arena][kind].push_back(view.ms());
  if (view.ms() <= (kind.ends_with("kill") ? kSlowKill_ms : kSlowOther_ms)) return;
  slowest.push_back({kind, arena, how, view.ms()});
  std::sort(slowest.begin(), slowest.end(), [](const Slow& a, const Slow& b) { return a.ms > b.ms; });
  if (slowest.size() > kKeptSlow) slowest.pop_back();
}

void Tally::find(std::string what) {
  if (findings.size() < kKeptFindings) findings.push_back(std::move(what));
}

}  // namespace regroup::chaos

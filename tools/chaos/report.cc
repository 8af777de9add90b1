#include "tools/chaos/report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace regroup::chaos {
namespace {

using nlohmann::json;

double rounded(double value) { return std::round(value * 100) / 100; }

json summary(const std::map<std::string, std::vector<double>>& by_kind) {
  json out = json::object();
  for (const auto& [kind, values] : by_kind)
    out[kind] = {{"n", values.size()},
                 {"p50", rounded(percentile(values, 50))},
                 {"p99", rounded(percentile(values, 99))},
                 {"max", rounded(percentile(values, 100))}};
  return out;
}

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

}  // namespace

std::string report_json(const ChaosArguments& a, const Tally& t, double wall_s) {
  json faults = json::object();
  for (int i = 0; i < static_cast<int>(FaultKind::kCount); ++i) {
    const char* name = name_of(static_cast<FaultKind>(i));
    auto it = t.faults.find(name);
    faults[name] = it == t.faults.end() ? 0 : it->second;
  }
  json growth = json::array();
  for (const Tally::Growth& g : t.growth)
    growth.push_back({{"arena", g.arena}, {"rank", g.rank}, {"from_s", rounded(g.from_s)}, {"to_s", rounded(g.to_s)},
                      {"rss_mib_peak", rounded(g.peak_mib)}, {"rss_mib", g.mib}, {"descriptors", g.descriptors}});
  json by_arena = json::object(), slowest = json::array();
  for (const auto& [arena, kinds] : t.by_arena_ms) by_arena[arena] = summary(kinds);
  for (const Tally::Slow& s : t.slowest) slowest.push_back({{"fault", s.kind}, {"arena", s.arena}, {"how", s.how}, {"ms", rounded(s.ms)}});
  const json out = {{"members", a.members}, {"seconds", a.seconds}, {"seed", a.seed}, {"wall_s", rounded(wall_s)},
                    {"faults", faults}, {"partition_kinds", t.partitions}, {"points", t.points},
                    {"recovery_ms", summary(t.recovery_ms)}, {"recovery_ms_by_arena", by_arena},
                    {"slowest", slowest}, {"next_commit_ms", summary(t.next_commit_ms)},
                    {"ops", t.ops}, {"commits", t.commits}, {"by_nccl", t.by_nccl}, {"commits_on_device", t.commits_there},
                    {"redone", t.redo_ms.size()}, {"redo_ms_p50", rounded(percentile(t.redo_ms, 50))},
                    {"false_suspicions", t.false_suspicions}, {"wrong_results", t.wrong}, {"lost_steps", t.lost_steps},
                    {"hangs", t.hangs}, {"unexpected_ends", t.unexpected_ends}, {"points_not_reached", t.unfired},
                    {"growth", growth}, {"skipped", t.skipped}, {"findings", t.findings}};
  return out.dump(1) + "\n";
}

std::string progress_line(const Tally& t, double at_s, double of_s) {
  std::string text = number(at_s) + " of " + number(of_s) + " s:";
  for (const auto& [kind, n] : t.faults) text += " " + kind + " " + std::to_string(n);
  if (auto it = t.recovery_ms.find("kill"); it != t.recovery_ms.end())
    text += ", kill recovery last " + number(it->second.back()) + " p50 " + number(percentile(it->second, 50)) + " max " +
            number(percentile(it->second, 100)) + " ms";
  return text + (t.good() ? "" : "  FINDINGS");
}

std::string report_text(const ChaosArguments& a, const Tally& t, double wall_s) {
  std::string text = std::to_string(a.members) + " members, seed " + std::to_string(a.seed) + ", " + number(wall_s) + " s, " +
                     std::to_string(t.ops) + " ops, " + std::to_string(t.commits) + " commits, " + std::to_string(t.redo_ms.size()) +
                     " after a redo (p50 " + number(percentile(t.redo_ms, 50)) + " ms)\n  faults:";
  for (const auto& [kind, n] : t.faults) text += " " + kind + " " + std::to_string(n);
  text += "\n";
  for (const auto* cuts : {&t.partitions, &t.points}) {
    if (cuts->empty()) continue;
    text += cuts == &t.partitions ? "  partitions:" : "  protocol points:";
    for (const auto& [kind, n] : *cuts) text += " " + kind + " " + std::to_string(n);
    text += "\n";
  }
  char line[160];
  std::snprintf(line, sizeof line, "  %-20s %6s %10s %10s %10s %14s\n", "fault, ms", "n", "view p50", "p99", "max", "commit p50");
  text += line;
  for (const auto& [kind, commits] : t.next_commit_ms) {
    auto it = t.recovery_ms.find(kind);
    const std::vector<double> views = it == t.recovery_ms.end() ? std::vector<double>{} : it->second;
    std::snprintf(line, sizeof line, "  %-20s %6zu %10.1f %10.1f %10.1f %14.1f\n", kind.c_str(), commits.size(), percentile(views, 50),
                  percentile(views, 99), percentile(views, 100), percentile(commits, 50));
    text += line;
  }
  for (const auto& [arena, kinds] : t.by_arena_ms)
    if (auto it = kinds.find("kill"); it != kinds.end())
      text += "  kill, " + arena + ": n " + std::to_string(it->second.size()) + ", p50 " + number(percentile(it->second, 50)) + ", p99 " +
              number(percentile(it->second, 99)) + ", max " + number(percentile(it->second, 100)) + "\n";
  for (const Tally::Slow& s : t.slowest)
    text += "  slow: " + s.kind + ", " + s.arena + ", " + s.how + ": " + number(s.ms) + " ms\n";
  for (const Tally::Growth& g : t.growth)
    text += "  " + g.arena + ": rank " + std::to_string(g.rank) + " from " + number(g.from_s) + " to " + number(g.to_s) + " s: " +
            number(g.mib.front()) + " to " + number(g.mib.back()) + " MiB, " + number(g.descriptors.front()) + " to " +
            number(g.descriptors.back()) + " descriptors (medians of the first and last tenth)\n";
  for (const std::string& s : t.skipped) text += "  left out: " + s + "\n";
  text += "  wrong results " + std::to_string(t.wrong) + ", lost steps " + std::to_string(t.lost_steps) + ", hangs " +
          std::to_string(t.hangs) + ", unexpected ends " + std::to_string(t.unexpected_ends) + ", false suspicions " +
          std::to_string(t.false_suspicions) + "\n";
  for (const std::string& f : t.findings) text += "! " + f + "\n";
  return text;
}

}  // namespace regroup::chaos

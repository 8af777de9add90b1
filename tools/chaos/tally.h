// What a chaos run counts, over all its episodes. A value; one thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/time.h"

namespace regroup::chaos {

// Nearest rank. 0: no values.
[[nodiscard]] double percentile(std::vector<double> values, double percent);

struct Tally {
  static constexpr std::size_t kKeptFindings = 40;
  static constexpr std::size_t kKeptSlow = 12;
  static constexpr double kSlowKill_ms = 100, kSlowOther_ms = 2000;

  std::map<std::string, int> faults;         // by kind of fault
  std::map<std::string, int> partitions;     // by kind of cut
  std::map<std::string, int> points;         // protocol points at which a member was killed or stopped
  std::map<std::string, std::vector<double>> recovery_ms;     // fault to the new view at the last survivor
  std::map<std::string, std::map<std::string, std::vector<double>>> by_arena_ms;  // recovery: arena, kind of fault
  std::map<std::string, std::vector<double>> next_commit_ms;  // fault to the last survivor's next commit
  struct Slow {
    std::string kind, arena, how;
    double ms = 0;
  };
  std::vector<Slow> slowest;  // recoveries over what is aimed at, the slowest first
  std::vector<double> redo_ms;  // of ops that took two attempts or more, call to commit
  std::uint64_t ops = 0, commits = 0, by_nccl = 0, wrong = 0, lost_steps = 0;  // by_nccl: commits that NCCL carried
  std::uint64_t commits_there = 0;  // of those, carried out on the device
  int hangs = 0;
  int unexpected_ends = 0;  // a process ended that nobody had killed
  int false_suspicions = 0;  // members that a view left out though no fault had touched them
  int unfired = 0;           // protocol points that were armed and not reached
  std::vector<std::string> skipped, findings;

  struct Growth {  // of one process: its memory and descriptors in ten equal parts of its life, each a median
    std::string arena;
    int rank = 0;
    double from_s = 0, to_s = 0, peak_mib = 0;
    std::vector<double> mib, descriptors;
  };
  std::vector<Growth> growth;  // the longest life of every episode

  // view 0: there was none. `how`: what was done to whom.
  void recovered(const std::string& kind, const std::string& arena, const std::string& how, Duration view, Duration commit);
  void find(std::string what);
  [[nodiscard]] bool good() const { return wrong == 0 && lost_steps == 0 && hangs == 0 && unexpected_ends == 0; }
};

}  // namespace regroup::chaos

// The account of a run with faults: every member's commits go in; what comes out is whether a step was lost, committed
// twice, committed with different contributors by two members, or wrong. Pure: fed by the parent, holds no process.
//
// A step is lost when a member that lived on did not commit it exactly once, or when a member that a view names did not
// commit one of that view's steps although it was in it from the start. What a killed or evicted incarnation left open
// is not counted: others have committed it or redone it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace regroup::chaos {

// One committed op as a member saw it. Times: CLOCK_MONOTONIC, the same for all processes.
struct Commit {
  std::uint64_t step = 0;
  std::uint64_t epoch = 0;
  std::uint64_t contributors = 0;  // bit r: rank r
  std::int64_t begin_ns = 0;       // the call began
  std::int64_t commit_ns = 0;      // the call returned, before the result was checked
  std::uint64_t state = 0;         // digest of the registered state behind the step; 0: none
  std::uint32_t wrong = 0;         // elements of the result that are not bit for bit right
  std::uint32_t attempts = 0;
  std::uint32_t life = 0;  // counts incarnations of a rank: process starts and rejoins
  std::uint32_t there = 0;  // 1: carried out on the device
  std::uint32_t by_nccl = 0;  // 1: NCCL carried it
};

class Ledger {
 public:
  explicit Ledger(std::size_t members) : members_(members) {}
  void add(std::size_t member, const Commit& commit);

  [[nodiscard]] std::uint64_t lost_steps() const { return lost_.size(); }
  // Commits with wrong bits, or with another epoch, contributor set or state than another member's of the same step.
  [[nodiscard]] std::uint64_t wrong_results() const { return wrong_; }
  [[nodiscard]] std::uint64_t steps() const { return last_step_ + 1 - first_step_; }
  [[nodiscard]] std::uint64_t commits() const { return commits_; }
  [[nodiscard]] std::uint64_t redone() const { return redone_; }  // commits after two attempts or more
  // The first few findings, for people.
  [[nodiscard]] const std::vector<std::string>& findings() const { return findings_; }

 private:
  static constexpr std::size_t kKeptSteps = 100'000;  // older ones are not compared any more
  static constexpr std::size_t kKeptFindings = 20;
  struct Step {
    std::uint64_t epoch;
    std::uint64_t contributors;
    std::uint64_t state;
    std::uint64_t committed;  // by whom
  };
  struct Life {
    bool begun = false;
    std::uint32_t number = 0;
    std::uint64_t last = 0;
  };
  void begin_life(std::size_t member, const Commit& commit);
  void lose(std::uint64_t step, const std::string& why);
  void find(const std::string& what);

  std::vector<Life> members_;
  std::map<std::uint64_t, Step> steps_;
  std::set<std::uint64_t> lost_;
  std::uint64_t wrong_ = 0;
  std::uint64_t commits_ = 0;
  std::uint64_t redone_ = 0;
  std::uint64_t first_step_ = 0;
  std::uint64_t last_step_ = 0;
  std::vector<std::string> findings_;
};

}  // namespace regroup::chaos

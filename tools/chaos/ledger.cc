#include "tools/chaos/ledger.h"

#include <algorithm>

namespace regroup::chaos {

void Ledger::find(const std::string& what) {
  if (findings_.size() < kKeptFindings) findings_.push_back(what);
}

void Ledger::lose(std::uint64_t step, const std::string& why) {
  if (lost_.insert(step).second) find("step " + std::to_string(step) + ": " + why);
}

void Ledger::begin_life(std::size_t member, const Commit& commit) {
  Life& life = members_[member];
  if (life.begun) {
    // Steps of the view that this incarnation came with: it was in it from the start, so it must have them all.
    for (auto it = steps_.lower_bound(life.last + 1); it != steps_.end() && it->first < commit.step; ++it) {
      const Step& step = it->second;
      const bool named = (step.contributors >> member & 1) != 0 && (step.committed >> member & 1) == 0;
      if (named && step.epoch >= commit.epoch) {
        lose(it->first, "not committed by rank " + std::to_string(member) + ", which its view names");
      }
    }
  }
  life = {true, commit.life, commit.step};
}

void Ledger::add(std::size_t member, const Commit& commit) {
  const std::string who = "rank " + std::to_string(member);
  if (commits_ == 0) first_step_ = last_step_ = commit.step;
  ++commits_;
  redone_ += commit.attempts > 1;
  first_step_ = std::min(first_step_, commit.step);
  last_step_ = std::max(last_step_, commit.step);

  Life& life = members_[member];
  if (!life.begun || commit.life != life.number) {
    begin_life(member, commit);
  } else {
    for (std::uint64_t step = life.last + 1; step < commit.step; ++step) lose(step, "skipped by " + who);
    if (commit.step <= life.last) lose(commit.step, "committed again by " + who);
    life.last = std::max(life.last, commit.step);
  }

  auto [it, fresh] = steps_.try_emplace(commit.step, Step{commit.epoch, commit.contributors, commit.state, 0});
  Step& step = it->second;
  bool wrong = false;
  if (commit.wrong > 0) {
    wrong = true;
    find("step " + std::to_string(commit.step) + ": " + std::to_string(commit.wrong) + " wrong elements at " + who);
  }
  if (!fresh && (step.epoch != commit.epoch || step.contributors != commit.contributors)) {
    wrong = true;
    find("step " + std::to_string(commit.step) + ": " + who + " committed it in another view than others");
  }
  if (!fresh && step.state != commit.state) {
    wrong = true;
    find("step " + std::to_string(commit.step) + ": " + who + " has another state behind it than others");
  }
  if ((commit.contributors >> member & 1) == 0) {
    wrong = true;
    find("step " + std::to_string(commit.step) + ": " + who + " is not among its contributors");
  }
  wrong_ += wrong;
  step.committed |= std::uint64_t{1} << member;
  while (steps_.size() > kKeptSteps) steps_.erase(steps_.begin());
}

}  // namespace regroup::chaos

#include "ft/core/commit_counter.h"

#include <algorithm>

#include "base/check.h"
#include "ft/core/mutant.h"

namespace regroup {
namespace {

[[maybe_unused]] OpId prepared_by_most(std::vector<OpId> words) {  // of a mutant alone
  std::sort(words.begin(), words.end());
  return words[(words.size() - 1) / 2];
}

}  // namespace

void CommitCounter::install(const Decision& decision, std::size_t self) {
  RG_CHECK(decision.view.epoch > epoch() && self < decision.view.members.size());
  const bool first = words_.empty();
  decision_ = decision;
  self_ = self;
  words_.assign(decision.view.members.size(), decision.trim);
  committed_ = first ? decision.trim : std::max(committed_, decision.trim);
  if (mutant(Mutant::kTrimAheadInstalled) && !first && committed_ < high_) ++committed_;
  words_[self_] = committed_;  // what lies in (trim, committed] had failed, and this decision fails it again
  high_ = std::max(high_, committed_);
  if (first || decision.planned) mark(decision.trim) = true;
  digests_.fill(0);
  differs_.reset();
  frozen_ = false;
  cut_planned_ = false;
  cut_.reset();
}

OpId CommitCounter::submit(bool mark) {
  RG_CHECK(room(kMaxWindow));
  ++high_;
  this->mark(high_) = mark;
  return high_;
}

std::optional<FailedOp> CommitCounter::failure_of(OpId k, bool shape) const {
  if (cut_ && k > *cut_) return std::nullopt;
  const FailedOp* failed = mutant(Mutant::kFailureForgotten) ? nullptr : decision_.failure_of(k);
  const OpId high = decision_.high - mutant(Mutant::kShapeHighExcluded);
  const bool shape_failed = shape && k > decision_.trim && k <= high;
  if (failed && !(shape_failed && failed->redone)) return *failed;  // the decision that came first has named the code
  if (shape_failed) return FailedOp{k, Code::kViewChanged, {}, {}};
  return std::nullopt;
}

bool CommitCounter::can_prepare(OpId k) const {
  const bool cut = cut_ && k > *cut_ && !mutant(Mutant::kCutIgnored);
  if (frozen_ || words_.empty() || k > high_ || cut) return false;
  return k == prepared() + 1;
}

void CommitCounter::prepare(OpId k, std::uint64_t digest) {
  RG_CHECK(can_prepare(k));
  digests_[k % digests_.size()] = digest;
  raise(k);
}

void CommitCounter::raise(OpId k) {
  words_[self_] = k;
  if (cut_planned_ && !cut_ && is_mark(k)) cut_ = k;
}

void CommitCounter::settle_failed(OpId k) {
  RG_CHECK(k == committed_ + 1 && k <= high_);
  committed_ = k;
  if ((!frozen_ || mutant(Mutant::kSettleRaisesFrozen)) && k == prepared() + 1) raise(k);
}

void CommitCounter::observe(std::size_t member, OpId prepared) {
  RG_CHECK(member < words_.size());
  words_[member] = std::max(words_[member], prepared);
}

void CommitCounter::observe_digest(OpId k, std::uint64_t digest) {
  if (k <= committed_ || k > prepared() || digest == 0) return;
  const std::uint64_t mine = digests_[k % digests_.size()];
  if (mine != 0 && mine != digest && (!differs_ || k < *differs_)) differs_ = k;
}

OpId CommitCounter::committable() const {
  if (words_.empty()) return 0;
  OpId all = *std::min_element(words_.begin(), words_.end());
  if (mutant(Mutant::kCommitLocal)) all = prepared();
  if (mutant(Mutant::kCommitMajority)) all = prepared_by_most(words_);
  return differs_ && !mutant(Mutant::kDigestsIgnored) ? std::min(all, *differs_ - 1) : all;
}

void CommitCounter::commit(OpId k) {
  RG_CHECK(k == committed_ + 1 && k <= committable());
  committed_ = k;
}

void CommitCounter::plan_cut() {
  cut_planned_ = true;
  if (!cut_ && (is_mark(prepared()) || mutant(Mutant::kCutAnywhere))) cut_ = prepared();
}

std::optional<OpId> CommitCounter::cut_reached() const {
  const OpId reached = mutant(Mutant::kCutEarly) ? prepared() : committed_;
  return cut_ && reached >= *cut_ ? cut_ : std::nullopt;
}

Report CommitCounter::freeze() {
  frozen_ = !mutant(Mutant::kWedgeNotSticky);
  // What is seen to differ, nobody can commit: reported as not prepared, whoever else is left to compare it with.
  Report report{epoch(), differs_ && !mutant(Mutant::kTrimBlind) ? *differs_ - 1 : prepared(), committed_, high_};
  for (OpId k = committed_ + 1; k <= report.prepared; ++k) report.digests.push_back(digests_[k % digests_.size()]);
  while (!report.digests.empty() && report.digests.back() == 0) report.digests.pop_back();
  return report;
}

}  // namespace regroup

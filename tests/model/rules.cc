#include "tests/model/bounds.h"

namespace regroup::model {

const std::vector<RuleInfo>& rules() {
  constexpr PlaneModel kShm = PlaneModel::kShm, kNet = PlaneModel::kNet, kOut = PlaneModel::kOut;
  static const std::vector<RuleInfo> list{
      {Rule::kCommitLocal, "commit-local", "commit on local completion", kCrash, kNet},
      {Rule::kCommitMajority, "commit-majority", "commit when a majority is prepared", kCrash | kSuspect},
      {Rule::kCommitUnsuspected, "commit-unsuspected", "commit when all unsuspected are prepared", kSuspect},
      {Rule::kWedgedPrepares, "wedged-prepares", "a wedged member still prepares", kSuspect},
      {Rule::kCachedPrepared, "cached-prepared", "the view change trusts cached prepared, without a wedge round",
       kCrash},
      {Rule::kOwnShard, "own-shard", "prepared on one's own shard, trim over survivors", kCrash},
      {Rule::kTrimMax, "trim-or", "trim by OR: the highest that any survivor prepared", kCrash, kNet},
      {Rule::kSelfAbort, "self-abort", "a prepared member aborts by itself on timeout"},
      {Rule::kNoEpoch, "no-epoch", "frames without an epoch", kCrash | kSuspect, kNet},
      {Rule::kLateFill, "late-fill", "fill after the report", kSuspect, kNet},
      {Rule::kSlotReuse, "slot-reuse", "a slot of scratch is reused at commit", 0, kShm, 2},
      {Rule::kOldScratch, "old-scratch", "scratch of an ended epoch is recycled", kSuspect},
      {Rule::kReadBuffer, "read-buffer", "a read after commit from a caller's buffer"},
      {Rule::kBufferReturned, "buffer-returned", "a buffer returned without decision or withdrawal"},
      {Rule::kReduceAbsent, "reduce-absent", "a survivor reduces an absent member's shard in its place", kSuspect},
      {Rule::kBlindTrim, "blind-trim", "trim blind to digests", kCorrupt, kNet, 1, false, 1, true},
      {Rule::kNoWithdrawal, "no-withdrawal", "an output given as scratch handed back after INSTALL without withdrawal",
       kSuspect, kOut},
      {Rule::kEarlyCut, "early-cut", "a planned cut reported before its mark is committed", 0, kShm, 1, true, 2},
  };
  return list;
}

}  // namespace regroup::model

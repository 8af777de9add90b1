#include "tests/model/bounds.h"

namespace regroup::model {

const std::vector<RuleInfo>& rules() {
  static const std::vector<RuleInfo> list{
      {Rule::kCommitLocal, "commit-local", "commit on local completion"},
      {Rule::kCommitMajority, "commit-majority", "commit when a majority is prepared"},
      {Rule::kCommitUnsuspected, "commit-unsuspected", "commit when all unsuspected are prepared"},
      {Rule::kWedgedPrepares, "wedged-prepares", "a wedged member still prepares"},
      {Rule::kCachedPrepared, "cached-prepared", "the view change trusts cached prepared, without a wedge round"},
      {Rule::kOwnShard, "own-shard", "prepared on one's own shard, trim over survivors"},
      {Rule::kTrimMax, "trim-or", "trim by OR: the highest that any survivor prepared"},
      {Rule::kSelfAbort, "self-abort", "a prepared member aborts by itself on timeout"},
      {Rule::kNoEpoch, "no-epoch", "frames without an epoch"},
      {Rule::kSlotReuse, "slot-reuse", "a slot of scratch is reused at commit"},
      {Rule::kOldScratch, "old-scratch", "scratch of an ended epoch is recycled"},
      {Rule::kReadBuffer, "read-buffer", "a read after commit from a caller's buffer"},
      {Rule::kBufferReturned, "buffer-returned", "a buffer returned without decision or withdrawal"},
      {Rule::kEarlyCut, "early-cut", "a planned cut reported before its mark is committed"},
  };
  return list;
}

}  // namespace regroup::model

// Seeded bugs of the data side, which ft/core does not hold: the simulator's own planes break a rule of PROTOCOL.md on
// purpose, so that it can be shown that the checker sees it. For tests.
#pragma once

#include <cstdint>
#include <string_view>

namespace regroup::sim {

enum class DataBug : std::uint8_t { kNone, kNoEpoch, kOwnShard, kSlotReuse, kInputReleased, kDivisor, kOldResult, kPassedOn,
                                     kTakenEarly, kEndDrops, kSettledOnce, kMessageReused };

struct DataBugInfo {
  DataBug bug;
  std::string_view name, what;
};
inline constexpr DataBugInfo kDataBugs[] = {
    {DataBug::kNoEpoch, "no-epoch", "frames of an ended epoch are taken"},
    {DataBug::kOwnShard, "own-shard", "prepared when the own shard stands"},
    {DataBug::kSlotReuse, "slot-reuse", "a scratch slot is used again at the own commit"},
    {DataBug::kInputReleased, "input-released", "the input is overwritten when the own shard stands"},
    {DataBug::kDivisor, "divisor", "an average is divided by the size of the first view"},
    {DataBug::kPassedOn, "passed-on", "partial sums are passed on without the member's own part"},
    {DataBug::kTakenEarly, "message-early", "a message is taken when it is prepared"},
    {DataBug::kEndDrops, "message-dropped", "a receiver fails what it had prepared when the pair ends"},
    {DataBug::kSettledOnce, "settled-once", "a sender does not say again in a new epoch what it has settled"},
    {DataBug::kMessageReused, "message-reused", "a sender's copy is written again before it was taken"},
    {DataBug::kOldResult, "stale-redo", "an op that is redone takes the shards of the ended epoch"},
};

}  // namespace regroup::sim

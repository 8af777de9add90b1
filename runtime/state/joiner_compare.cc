// The round of digests at the hand-over: a sample of the stripes of the replayed state, compared with another member's as of
// the mark at which this one enters. What it costs the members, who are at that mark: reading as many bytes, once.
#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "runtime/state/joiner_round.h"

namespace regroup::state {
namespace {

constexpr std::uint32_t kSample = 8;                      // stripes
constexpr Duration kEach = Duration::from_ms(150);        // for a member's answer
constexpr Duration kInAll = Duration::from_ms(400);       // below the coordinator's wedge deadline, with the rest of the hand-over
constexpr std::uint32_t kTries = 2;                       // against a single other member: it may be wrong itself

}  // namespace

// kInvalid: two members say otherwise, so `apply` does not give their bits; kUnavailable: one does, and there is no other to ask.
Status Joiner::compare(Round& round) {
  if (table_.size() == 0) return {};
  const std::uint32_t parts = std::max(table_.size() / kSample, 1u);
  const auto part = static_cast<std::uint32_t>(Rng(round.op).below(parts));  // another one at every mark
  std::vector<MemberInfo> members;
  {
    std::lock_guard lock(mutex_);
    members = members_;
  }
  const Instant until = now() + kInAll;
  std::uint32_t differ = 0;
  std::string where;
  for (const MemberInfo& m : members) {
    if (now() >= until || differ == 2 || stop_.load()) break;
    if (lied(m)) continue;
    const std::optional<bool> same = agrees(round, m, part, parts, std::min(until, now() + kEach), where);
    if (!same) continue;
    if (*same) return differed_ = 0, Status();
    ++differ;
  }
  if (differ == 0) {
    log::info("catch_up_not_compared", "step=" + std::to_string(round.step));  // nobody had the time: as if it had not been asked
    return {};
  }
  const std::string what = "the replayed state differs at step " + std::to_string(round.step) + " from what " +
                           (differ == 1 ? "the other member holds: " : "others hold: ") + where;
  if (differ == 1 && ++differed_ < kTries) return {Code::kUnavailable, what};
  return {Code::kInvalid, what + ": apply does not give the members' bits"};
}

// Nothing: no answer.
std::optional<bool> Joiner::agrees(Round& round, const MemberInfo& with, std::uint32_t part, std::uint32_t parts, Instant deadline,
                                   std::string& where) {
  SourceLink link(round.reach, with);
  if (!link.open(table_, deadline)) return std::nullopt;
  TakeAsk ask{round.step, part, parts};
  ask.compare = true;
  const Result<SourceLink::Taken> taken = link.take(ask, deadline);
  if (!taken || taken->op != round.op) return std::nullopt;
  GetAsk digests;
  for (std::uint32_t i = part; i < table_.size(); i += parts) digests.digests.push_back(i);
  bool same = true;
  std::uint64_t bytes = 0;
  SourceLink::Answers answers;
  answers.told = [&](const Told& told) {
    if (!told.there) return;
    const Stripe s = table_[told.stripe];
    const StateBuffer& buffer = config_.state[s.tensor];
    bytes += s.bytes;
    if (regroup::state::digest_of({static_cast<const std::byte*>(buffer.data) + s.offset, s.bytes}) == told.digest) return;
    if (same) where = "state '" + buffer.name + "', bytes from " + std::to_string(s.offset);
    same = false;
  };
  if (!link.get(table_, digests, answers, deadline - now()) || bytes == 0) return std::nullopt;
  std::lock_guard lock(mutex_);
  if (same) progress_.compared += bytes;
  return same;
}

}  // namespace regroup::state

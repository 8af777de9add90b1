// Seeded bugs, so that it can be shown that the explorer and the simulator see them. Code asks `mutant(Mutant::kX)` where
// bug X would sit. In every library and program of ours that is the constant false and leaves no trace; only
// rg_core_mutants, built from the same sources for tests alone, carries the bugs, of which `active_mutant` chooses one.
// Tests set it before they start a run and run in one thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace regroup {

enum class Mutant : std::uint8_t {
  kNone,
  // commit counter
  kCommitLocal,
  kCommitMajority,
  kWedgeNotSticky,
  kSettleRaisesFrozen,
  kTrimAheadInstalled,
  kFailureForgotten,
  kShapeHighExcluded,
  kCutEarly,
  kCutAnywhere,
  kCutIgnored,
  kDigestsIgnored,
  // member
  kForeignLog,
  kEvictionIgnored,
  kWedgeForgotten,
  kRequestForgotten,
  kLeaverForgotten,
  // coordinator
  kTrimMax,
  kTrimFirst,
  kTrimAhead,
  kTrimBlind,
  kFailedForgotten,
  kEpochReused,
  kNumbersReused,
  kLogNotSynced,
  kStaleReport,
  kReportsKept,
  kNotAllAwaited,
  kPlannedDespiteFailure,
  kPlannedInsideStep,
  kStaleLevel,
  kJoinerNotLevel,
  kEvictedNotTold,
  kInstallNotResent,
  kFounderPromoted,
  kHandOverFounds,
};

struct MutantInfo {
  Mutant mutant;
  std::string_view name;
  std::string_view what;
};
inline constexpr MutantInfo kMutants[] = {
    {Mutant::kCommitLocal, "commit-local", "commit when prepared here"},
    {Mutant::kCommitMajority, "commit-majority", "commit when a majority is prepared"},
    {Mutant::kWedgeNotSticky, "wedge-not-sticky", "a member that has reported prepares on"},
    {Mutant::kSettleRaisesFrozen, "settle-raises-frozen", "an op settled as failed raises prepared behind the report"},
    {Mutant::kTrimAheadInstalled, "trim-ahead-installed", "a member takes one op more than trim for settled"},
    {Mutant::kFailureForgotten, "failure-forgotten", "a member redoes an op that the decision fails"},
    {Mutant::kShapeHighExcluded, "shape-high-excluded", "the shape op at `high` itself is redone"},
    {Mutant::kCutEarly, "cut-early", "a planned cut is reported before its mark is committed"},
    {Mutant::kCutAnywhere, "cut-anywhere", "a planned cut is made at an op that is no mark"},
    {Mutant::kCutIgnored, "cut-ignored", "a member prepares behind its planned cut"},
    {Mutant::kDigestsIgnored, "digests-ignored", "commit although digests differ"},
    {Mutant::kForeignLog, "foreign-log", "a member obeys a coordinator with another log"},
    {Mutant::kEvictionIgnored, "eviction-ignored", "a member that was evicted does not end"},
    {Mutant::kWedgeForgotten, "wedge-forgotten", "a wedged member that connects anew keeps it to itself"},
    {Mutant::kRequestForgotten, "request-forgotten", "a member that connects anew does not repeat its requests"},
    {Mutant::kLeaverForgotten, "leaver-forgotten", "a member that wants to leave says it once only"},
    {Mutant::kTrimMax, "trim-max", "trim is the highest that any survivor prepared"},
    {Mutant::kTrimFirst, "trim-first", "trim is what the first survivor prepared"},
    {Mutant::kTrimAhead, "trim-ahead", "trim is one too high"},
    {Mutant::kTrimBlind, "trim-blind", "trim is blind to digests"},
    {Mutant::kFailedForgotten, "failed-forgotten", "ops failed by the last decision are not failed by the next"},
    {Mutant::kEpochReused, "epoch-reused", "an unplanned change gives its view the epoch that it ends"},
    {Mutant::kNumbersReused, "numbers-reused", "a group founded anew numbers on behind trim, where ops may have failed"},
    {Mutant::kLogNotSynced, "log-not-synced", "a decision is told before it is durable"},
    {Mutant::kStaleReport, "stale-report", "a report of another epoch counts"},
    {Mutant::kReportsKept, "reports-kept", "reports of the ended epoch count in the next"},
    {Mutant::kNotAllAwaited, "not-all-awaited", "the first report counts for all candidates"},
    {Mutant::kPlannedDespiteFailure, "planned-despite-failure", "a planned change goes on as planned when a member fails"},
    {Mutant::kPlannedInsideStep, "planned-inside-step", "a planned change goes on although trim fell below the mark"},
    {Mutant::kStaleLevel, "stale-level", "a joiner that is level as of an earlier change is promoted, and follows"},
    {Mutant::kJoinerNotLevel, "joiner-not-level", "a joiner whose transfer failed is promoted"},
    {Mutant::kEvictedNotTold, "evicted-not-told", "who comes back after its eviction is not told of it"},
    {Mutant::kInstallNotResent, "install-not-resent", "who comes back without the last decision is not sent it"},
    {Mutant::kFounderPromoted, "founder-promoted", "an observer is promoted that has not caught up"},
    {Mutant::kHandOverFounds, "hand-over-founds", "a view that all others leave as a level joiner enters is taken for a new group"},
};

#ifdef REGROUP_MUTANTS
inline Mutant active_mutant = Mutant::kNone;
inline bool mutant(Mutant m) { return active_mutant == m; }
#else
constexpr bool mutant(Mutant) { return false; }
#endif

}  // namespace regroup

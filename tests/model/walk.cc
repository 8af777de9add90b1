#include "tests/model/walk.h"

#include "base/clock.h"
#include "base/rng.h"

namespace regroup::model {
namespace {

constexpr int kWorldsPerSeed = 4;

Bounds draw(Rng& rng) {
  const auto one_in = [&](std::uint64_t n) { return rng.below(n) == 0; };
  Bounds b;
  b.symmetry = false;
  b.joiner = one_in(2);
  b.members = 2 + static_cast<int>(rng.below(b.joiner ? 2 : 3));
  b.returning = b.joiner && one_in(3);
  b.follow = b.joiner && !b.returning && b.members == 2;
  b.formation = one_in(8);
  b.ops = 2 + static_cast<int>(rng.below(kMaxOps - 1));
  b.window = 1 + static_cast<int>(rng.below(2));
  b.step = 1 + static_cast<int>(rng.below(2));
  b.ops += b.ops % b.step;  // the last op ends a step, else a cut would wait for ever
  b.lazy_submit = one_in(2);
  b.shape = one_in(2);
  b.plane = static_cast<PlaneModel>(rng.below(3));
  b.digests = b.holds_results() && one_in(3);
  b.views = static_cast<int>(rng.below(4));
  b.failures = static_cast<int>(one_in(4) ? rng.below(8) : rng.below(4));
  b.asks = 1 + static_cast<unsigned>(rng.below(kAllAsks));
  b.faults = static_cast<unsigned>(rng.next()) & static_cast<unsigned>(rng.next() | rng.next()) & kAllFaults;
  if (b.digests) b.faults = kCorrupt, b.asks = kAskChange;  // who is alone has nobody to compare its result with
  return b;
}

struct Way {
  Action action;
  State next;
  std::string violation;
  std::uint64_t weight = 0;
};

class Walker {
 public:
  Walker(World& world, const Bounds& bounds, Rng& rng) : world_(world), rng_(rng), state_(world.initial()) {
    fault_every_ = 3 + rng_.below(30);
    for (std::uint64_t& w : slot_weight_) w = rng_.below(3) == 0 ? 1 + rng_.below(4) : 20;
    deaf_ = rng_.below(4) == 0 ? static_cast<int>(rng_.below(static_cast<std::uint64_t>(bounds.slots()))) : -1;
    members_ = bounds.members;
    late_ = rng_.below(2) == 0;
    if (rng_.below(5) < 2) vulture_ = static_cast<Coordinator::Phase>(1 + rng_.below(4));
    hasty_ = rng_.below(2) == 0;
  }

  bool run(const Walks& walks, Verdict& verdict) {
    for (std::size_t i = 0; i < walks.steps; ++i)
      if (!step(true, verdict)) break;
    for (std::size_t i = 0; found_.empty() && i < walks.patience && !world_.goal(state_); ++i)
      if (!step(false, verdict)) break;
    if (found_.empty() && !world_.goal(state_)) found_ = "stuck";
    if (found_.empty()) return false;
    trace_.push_back("the state:\n" + world_.picture(state_));
    verdict.found.push_back({found_, std::move(trace_)});
    (found_ == "stuck" ? verdict.stuck : verdict.violations) = 1;
    return true;
  }

 private:
  // False: no way on, or found something.
  bool step(bool faults, Verdict& verdict) {
    ways_.clear();
    std::uint64_t calm = 0, foul = 0;
    const bool foul_now =
        faults && (vulture_ ? *vulture_ == world_.phase(state_) && rng_.below(3) == 0 : rng_.below(fault_every_) == 0);
    world_.successors(state_, [&](const Action& action, const State& next, const std::string& violation) {
      Way way{action, next, violation, weight_of(action)};
      (action.fault ? foul : calm) += way.weight;
      ways_.push_back(std::move(way));
    });
    const bool choose_fault = faults && foul != 0 && (foul_now || calm == 0);
    if ((choose_fault ? foul : calm) == 0) return false;
    std::uint64_t left = rng_.below(choose_fault ? foul : calm);
    for (Way& way : ways_) {
      if (way.action.fault != choose_fault) continue;
      if (left >= way.weight) {
        left -= way.weight;
        continue;
      }
      trace_.push_back(world_.describe(state_, way.action));
      state_ = way.next;
      ++verdict.steps;
      ++verdict.states;
      found_ = way.violation.empty() ? world_.violation(state_) : way.violation;
      return found_.empty();
    }
    return false;
  }

  // Slow members, one that hears nothing for long, coordinators that are hasty with their deadlines.
  [[nodiscard]] std::uint64_t weight_of(const Action& action) const {
    if (action.act == Act::kSilence || action.act == Act::kDeadline) return hasty_ ? 20 : 1;
    if (action.act != Act::kMember && action.act != Act::kDeliverUp) return 10;
    if (action.act == Act::kMember && action.what == Do::kCrash) return 30;
    const bool joiner = action.act == Act::kMember && action.slot >= members_;
    if (late_ && action.act == Act::kDeliverUp && action.slot >= members_) return 2;
    if (joiner && (action.what == Do::kFetched || (late_ && action.what == Do::kConnect))) return 1;
    const bool ears = action.act == Act::kDeliverUp || action.what == Do::kHear || action.what == Do::kConnect;
    return ears && action.slot == deaf_ ? 1 : 2 * slot_weight_[action.slot];
  }

  World& world_;
  Rng& rng_;
  State state_;
  std::uint64_t fault_every_ = 0;
  std::array<std::uint64_t, kMaxSlots> slot_weight_{};
  int deaf_ = -1;
  int members_ = 0;
  bool late_ = false;  // a joiner comes late
  bool hasty_ = false;
  std::optional<Coordinator::Phase> vulture_;  // faults come in this phase of a view change
  std::vector<Way> ways_;
  std::vector<std::string> trace_;
  std::string found_;
};

}  // namespace

Verdict walk(const Walks& walks, std::uint64_t& seed, Bounds& bounds) {
  Verdict verdict;
  const Instant start = now();
  verdict.complete = false;  // never: these are samples
  for (seed = walks.first; seed < walks.end; ++seed) {
    Rng rng(seed);
    for (int w = 0; w < kWorldsPerSeed && verdict.found.empty(); ++w) {
      bounds = draw(rng);
      World world(bounds);
      Walker(world, bounds, rng).run(walks, verdict);
    }
    if (!verdict.found.empty()) break;
  }
  verdict.seconds = static_cast<double>((now() - start).ns) / 1e9;
  return verdict;
}

}  // namespace regroup::model

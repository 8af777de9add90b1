// What must hold in every state, and what must stay reachable from it.
#include "tests/model/plane.h"
#include "tests/model/state_access.h"
#include "tests/model/world.h"

namespace regroup::model {

std::string World::violation(const State& s) const {
  for (int a = 0; a < bounds_.slots(); ++a) {
    const Proc& p = procs_[s.proc[a]];
    for (int k = 1; k <= bounds_.ops; ++k) {
      const Outcome& mine = p.outcomes[k - 1];
      if (mine.kind == Outcome::kOpen) continue;
      if (k > p.founded + 1 && p.outcomes[k - 2].kind == Outcome::kOpen)
        return "G4: op " + std::to_string(k) + " ended before its forerunner";
      for (int b = 0; b < a; ++b) {
        const Outcome& theirs = procs_[s.proc[b]].outcomes[k - 1];
        if (theirs.kind == Outcome::kOpen || theirs == mine) continue;
        return std::string(theirs.kind == mine.kind ? "G1" : "G4") + ": op " + std::to_string(k) +
               " ended differently at members " + std::to_string(b) + " and " + std::to_string(a);
      }
    }
    const CommitCounter& c = p.counter;
    if (p.running() && p.copied < c.committed()) {
      Procs procs{};
      for (int i = 0; i < kMaxSlots; ++i) procs[i] = &procs_[s.proc[i]];
      if (const OpId k = missing_shard(bounds_, procs, a); k != 0)
        return "G2: op " + std::to_string(k) + " is committed at member " + std::to_string(a) +
               ", and a shard of it is missing or foreign";
    }
    for (OpId k = p.copied + 1u; p.running() && p.installed() && k <= c.high() && bounds_.rule != Rule::kBufferReturned;
         ++k)
      if (!(p.buffers[k % static_cast<OpId>(bounds_.window)] == Cell::input(a, static_cast<std::uint8_t>(k))))
        return "G8: the buffer of op " + std::to_string(k) + " was touched before its end";
  }
  return {};
}

bool World::goal(const State& s) const {
  const Coord& c = coords_[s.coord];
  if (c.core.phase() != Coordinator::Phase::kIdle) return false;
  const View* view = c.core.last() ? &c.core.last()->view : nullptr;
  int running = 0;
  for (int a = 0; a < bounds_.members; ++a) running += procs_[s.proc[a]].running();
  if (view == nullptr && running < bounds_.members) return true;  // the world is not complete: nothing can be founded
  bool somebody = view == nullptr;                                // the view has a living member
  std::uint32_t held = 0;                                         // ids that living members of the view hold
  for (int a = 0; view != nullptr && a < bounds_.slots(); ++a) {
    const Proc& p = procs_[s.proc[a]];
    if (!p.running() || !view->contains(p.member.config().self.inc)) continue;
    somebody = true;
    held |= 1u << p.member.config().self.id.replica;
    const bool active = p.member.phase() == Member::Phase::kActive && p.counter.epoch() == view->epoch;
    if (!active || p.copied != bounds_.ops || StateAccess::leaving(p.member)) return false;
  }
  for (int a = 0; a < bounds_.slots(); ++a) {  // who is not in the view knows it, or cannot join
    const Proc& p = procs_[s.proc[a]];
    if (!p.running() || (view != nullptr && view->contains(p.member.config().self.inc))) continue;
    if (p.installed()) return false;
    if (somebody && !(held >> p.member.config().self.id.replica & 1)) return false;
  }
  return true;
}

}  // namespace regroup::model

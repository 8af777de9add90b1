// What goes wrong in the world: each a step that a bound counts. And what comes of it for the connections.
#include <algorithm>

#include "tests/model/world.h"

namespace regroup::model {

void World::fault_steps(const State& s, const Visit& visit) {
  for (int slot = 0; slot < bounds_.slots(); ++slot) {
    const Proc& p = procs_[s.proc[slot]];
    if (!p.running()) continue;
    if (s.asks_left > 0 && p.installed() && p.member.phase() != Member::Phase::kObserver) {
      if (bounds_.asks & kAskChange) act_member(s, slot, Do::kAskChange, 0, visit, true, true);
      if ((bounds_.asks & kAskFail) && p.counter.high() > p.counter.committed())
        act_member(s, slot, Do::kAskFail, 0, visit, true, true);
      if (bounds_.asks & kAskLeave) act_member(s, slot, Do::kAskLeave, 0, visit, true, true);
    }
    if (links_[s.link[slot]].lossy && links_[s.link[slot]].up)
      act_link(s, {Act::kBreak, static_cast<std::uint8_t>(slot), {}, false, 0}, visit);
    if (s.failures_left == 0) continue;
    wire_faults(s, slot, visit);
    if ((bounds_.faults & kStray) && p.installed()) strangers(s, slot, visit);
    if ((bounds_.faults & kWithdraw) && p.installed() && p.counter.high() > p.counter.committed())
      act_member(s, slot, Do::kWithdraw, 0, visit, true);
    if (bounds_.faults & kCrash) act_member(s, slot, Do::kCrash, 0, visit, true);
    if ((bounds_.faults & kBreak) && links_[s.link[slot]].up)
      act_link(s, {Act::kBreak, static_cast<std::uint8_t>(slot), {}, true, 0}, visit);
    for (int whom = 0; (bounds_.faults & kSuspect) && whom < bounds_.slots(); ++whom)
      if (whom != slot && procs_[s.proc[whom]].running() && p.installed())
        act_member(s, slot, Do::kSuspect, static_cast<std::uint64_t>(whom), visit, true);
  }
  if (s.failures_left > 0 && (bounds_.faults & kRestart)) act_link(s, {Act::kRestart, 0, {}, true, 0}, visit);
}

void World::wire_faults(const State& s, int slot, const Visit& visit) {
  const Link& link = links_[s.link[slot]];
  const auto u = static_cast<std::uint8_t>(slot);
  const bool up = !link.to_coord.empty() && link.to_coord.front() != kLost, down = !link.to_member.empty();
  const bool up_more = up && link.to_coord.size() > 1, down_more = link.to_member.size() > 1;
  const auto fault = [&](bool possible, unsigned kind, Act act) {
    if (possible && (bounds_.faults & kind)) act_link(s, {act, u, {}, true, 0}, visit);
  };
  fault(up, kLose, Act::kLoseUp);
  fault(down, kLose, Act::kLoseDown);
  fault(up_more, kLate, Act::kLateUp);
  fault(down_more, kLate, Act::kLateDown);
  fault(up, kRepeat, Act::kRepeatUp);
  fault(down, kRepeat, Act::kRepeatDown);
}

// A coordinator with another log, as if it had made the member's view, makes the next one with and without it.
void World::strangers(const State& s, int slot, const Visit& visit) {
  const Proc& p = procs_[s.proc[slot]];
  Decision theirs = p.member.decision();
  ++theirs.view.log;
  const auto say = [&](ToMember message) {
    act_member(s, slot, Do::kStray, messages_.id(Message{std::move(message)}), visit, true);
  };
  say(Welcome{theirs.view.log, theirs.view.epoch});
  say(Refuse{Code::kRefused, "another group's past"});
  say(Wedge{1, theirs});
  say(Evicted{theirs.view.log, theirs.view.epoch + 1});
  theirs.prev = theirs.view.epoch++;
  theirs.view.members = {p.member.config().self};
  say(Install{theirs});
  theirs.view.members.clear();
  say(Install{theirs});
}

// The connection is gone: what was on its way is lost, and the coordinator, where it knew it, will notice.
Link World::with_lost(Link l) const {
  const bool noticed = l.known || std::find(l.to_coord.begin(), l.to_coord.end(), kLost) != l.to_coord.end();
  l.up = l.lossy = false;
  l.to_member.clear();
  l.to_coord.clear();
  if (noticed) l.to_coord.push_back(kLost);
  return l;
}

void World::act_link(const State& s, const Action& action, const Visit& visit) {
  State next = s;
  if (action.fault) --next.failures_left;
  if (action.act == Act::kBreak) {
    next.link[action.slot] = link_id(with_lost(links_[s.link[action.slot]]));
  } else if (action.act != Act::kRestart) {
    Link link = links_[s.link[action.slot]];
    const bool up = action.act == Act::kLoseUp || action.act == Act::kLateUp || action.act == Act::kRepeatUp;
    std::vector<std::uint32_t>& queue = up ? link.to_coord : link.to_member;
    const std::uint32_t message = queue.front();
    const bool repeat = action.act == Act::kRepeatUp || action.act == Act::kRepeatDown;
    if (!repeat) queue.erase(queue.begin()), link.lossy = true;
    if (action.act != Act::kLoseUp && action.act != Act::kLoseDown) queue.push_back(message);
    next.link[action.slot] = link_id(std::move(link));
  } else {
    next.coord = coord_step(s.coord, Act::kRestart, 0, 0).coord;
    for (std::uint32_t& link : next.link) link = link_id(Link{});
  }
  emit(action, next, {}, visit);
}

}  // namespace regroup::model

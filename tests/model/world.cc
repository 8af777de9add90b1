#include "tests/model/world.h"

#include <algorithm>

#include "base/check.h"
#include "tests/model/plane.h"
#include "tests/model/state_access.h"

namespace regroup::model {
namespace {

constexpr Instant kNow{1'000'000'000};
constexpr LogId kLogId = 7;

CoordinatorConfig coordinator_config(std::uint64_t life) {
  CoordinatorConfig config;
  config.group = "model";
  config.log = kLogId;
  config.first_round = 100 * life;
  return config;
}

MemberConfig member_config(const Bounds& b, int slot) {
  MemberConfig config;
  config.group = "model";
  const bool back = b.returning && slot == b.members;
  config.self = {MemberId{back ? 0 : static_cast<std::uint32_t>(slot), 0}, incarnation_of(slot),
                 b.plane == PlaneModel::kShm ? 1u : 0u, ""};
  config.world_size = static_cast<std::uint32_t>(b.members);
  return config;
}

}  // namespace

void Coord::put(Bytes& out) const {
  StateAccess::put(out, core);
  std::map<Incarnation, Report> heard;
  for (int s = 0; s < kMaxSlots; ++s) heard[incarnation_of(s)] = cached[s];
  out.put(log, writing, life, heard);
}
void Message::put(Bytes& out) const {
  out.put(std::uint64_t{what.index()});
  if (const auto* up = std::get_if<ToCoordinator>(&what)) out.put(*up);
  if (const auto* down = std::get_if<ToMember>(&what)) out.put(*down);
}
void Link::put(Bytes& out) const {
  out.put(up, known, lossy, to_coord.size());
  for (const auto* queue : {&to_coord, &to_member})
    for (const std::uint32_t m : *queue) (*messages)[m].put(out);
}

namespace {

// All orders of the first members. The choice of a joiner's source goes by name, so then nothing is renamed.
std::vector<Renaming> renamings_of(const Bounds& bounds) {
  std::vector<Renaming> result;
  Renaming names;
  do result.push_back(names);
  while (bounds.symmetry && !bounds.joiner &&
         std::next_permutation(names.to.begin(), names.to.begin() + bounds.members));
  return result;
}

}  // namespace

World::World(const Bounds& bounds) : bounds_(bounds), renamings_(renamings_of(bounds)) { messages_.id(Message{}); }

std::uint64_t World::signature_of(const State& s) const {
  std::uint64_t least = ~0ull;
  for (std::size_t r = 0; r < renamings_.size(); ++r) {
    std::array<std::uint64_t, kMaxSlots> slots{};
    for (int slot = 0; slot < bounds_.slots(); ++slot)
      slots[static_cast<std::size_t>(renamings_[r].slot(slot))] =
          mix(procs_.signature_of(s.proc[slot], r), links_.signature_of(s.link[slot], r));
    std::uint64_t h = mix(coords_.signature_of(s.coord, r),
                          s.failures_left | std::uint64_t{s.asks_left} << 16 | std::uint64_t{s.timeouts_left} << 32);
    for (int slot = 0; slot < bounds_.slots(); ++slot) h = mix(h, slots[slot]);
    least = std::min(least, h);
  }
  return least;
}

// Members stand before their first hello; unless formation is explored too, the first view is then formed without
// faults (and the joiner comes after it).
State World::initial() {
  Coord coord{Coordinator(coordinator_config(1), std::nullopt, kNow), {}, {}, 1, {}};
  State s;
  s.coord = coords_.id(coord);
  for (int slot = 0; slot < kMaxSlots; ++slot) {
    Proc p{Member(member_config(bounds_, slot))};
    p.slot = slot;
    p.alive = slot < bounds_.slots();
    p.outcomes.resize(static_cast<std::size_t>(bounds_.ops));
    MemberActions ignored;
    const bool follows = bounds_.follow && slot >= bounds_.members;
    if (p.alive) p.member.on(Parked{follows ? Readiness::kFounder : Readiness::kHold}, ignored);
    s.proc[slot] = procs_.id(std::move(p));
    s.link[slot] = link_id(Link{});
  }
  const auto formed = [&](const State& x) {
    for (int m = 0; m < bounds_.members; ++m)
      if (!procs_[x.proc[m]].installed()) return false;
    return true;
  };
  for (bool moved = true; !bounds_.formation && !formed(s) && moved;) {
    moved = false;
    State next = s;
    successors(s, [&](const Action& a, const State& to, const std::string&) {
      const bool joiner = a.act == Act::kMember && a.slot >= bounds_.members;
      const bool engine = a.act == Act::kMember && a.what != Do::kHear && a.what != Do::kConnect;
      if (!moved && !a.fault && !joiner && !engine && a.act != Act::kSilence) next = to, moved = true;
    });
    s = next;
  }
  RG_CHECK(bounds_.formation || formed(s));
  s.failures_left = static_cast<std::uint16_t>(bounds_.failures);
  s.asks_left = static_cast<std::uint16_t>(bounds_.views);
  s.timeouts_left = s.failures_left;
  return s;
}

bool World::reachable(const State& s, int slot) const {
  return procs_[s.proc[slot]].running() && !link_broken(links_[s.link[slot]]);
}

void World::successors(const State& s, const Visit& visit) {
  coordinator_steps(s, visit);
  for (int slot = 0; slot < bounds_.slots(); ++slot) {
    member_steps(s, slot, visit);
    engine_steps(s, slot, visit);
  }
  fault_steps(s, visit);
}

void World::coordinator_steps(const State& s, const Visit& visit) {
  const Coord& c = coords_[s.coord];
  if (c.writing) act_coord(s, {Act::kWrite, 0, {}, false, 0}, 0, visit);
  bool right = false;  // the deadline passes for a reason
  bool cut_off = false, wrong = false;
  for (int slot = 0; slot < bounds_.slots(); ++slot) {
    const Link& link = links_[s.link[slot]];
    const auto u = static_cast<std::uint8_t>(slot);
    const Incarnation inc = incarnation_of(slot);
    if (!link.to_coord.empty()) act_coord(s, {Act::kDeliverUp, u, {}, false, 0}, link.to_coord.front(), visit);
    const bool here = reachable(s, slot);
    if (StateAccess::watches(c.core, inc) && !c.core.suspected().contains(inc)) {
      const bool allowed = !procs_[s.proc[slot]].running() ||
                           (here ? s.failures_left > 0 && (bounds_.faults & kSilence) : s.timeouts_left > 0);
      const bool cut = !here && procs_[s.proc[slot]].running();
      if (allowed) act_coord(s, {Act::kSilence, u, {}, here, cut}, 0, visit);
    }
    if (StateAccess::awaited(c.core, inc)) {
      if (!procs_[s.proc[slot]].running())
        right = true;
      else
        (here ? wrong : cut_off) = true;
    }
    const bool idle = c.core.phase() == Coordinator::Phase::kIdle;
    if (idle && here && c.core.suspected().contains(inc) && link.to_coord.empty())
      act_coord(s, {Act::kHeartbeat, u, {}, false, 0}, 0, visit);
    if (bounds_.rule == Rule::kCachedPrepared && here) act_coord(s, {Act::kCacheReport, u, {}, false, 0}, 0, visit);
  }
  if (StateAccess::holds_cut(c.core, kNow)) act_coord(s, {Act::kDeadline, 0, {}, false, 0}, 0, visit);
  if (!StateAccess::has_deadline(c.core)) return;
  if (right && !cut_off && !wrong)
    act_coord(s, {Act::kDeadline, 0, {}, false, 0}, 0, visit);
  else if (cut_off && !wrong && s.timeouts_left > 0)
    act_coord(s, {Act::kDeadline, 0, {}, false, 1}, 0, visit);
  else if (wrong && s.failures_left > 0 && (bounds_.faults & kSlow))
    act_coord(s, {Act::kDeadline, 0, {}, true, 0}, 0, visit);
}

void World::member_steps(const State& s, int slot, const Visit& visit) {
  const Proc& p = procs_[s.proc[slot]];
  if (!p.running()) return;
  const Link& link = links_[s.link[slot]];
  if (!link.up) act_member(s, slot, Do::kConnect, 0, visit);
  if (!link.to_member.empty()) act_member(s, slot, Do::kHear, link.to_member.front(), visit);
  if (p.follows && StateAccess::catches_up(p.member)) act_member(s, slot, Do::kCaughtUp, 0, visit);
  if (p.fetch) {
    const int source = slot_of(p.fetch->source.inc);
    const Proc& from = procs_[s.proc[source]];
    if (!from.running())
      act_member(s, slot, Do::kFetched, 0, visit);
    else if (from.copied >= p.fetch->op)
      act_member(s, slot, Do::kFetched, 1ull + s.proc[source], visit);
  }
}

void World::engine_steps(const State& s, int slot, const Visit& visit) {
  Procs procs{};
  for (int i = 0; i < kMaxSlots; ++i) procs[i] = &procs_[s.proc[i]];
  const Proc& p = *procs[slot];
  if (p.running()) {
    engine_steps_of(bounds_, procs, slot, [&](Do what, std::uint64_t arg) {
      if (what == Do::kPrepareOdd && s.failures_left > 0 && (bounds_.faults & kCorrupt))
        act_member(s, slot, what, arg, visit, true);
      if (what == Do::kPrepareOdd) return;
      act_member(s, slot, what, arg, visit, what == Do::kAbort || what == Do::kReturnBuffer);
    });
  } else if (!p.alive && bounds_.plane == PlaneModel::kNet && !p.pages.empty()) {  // its last frames may be lost
    const Page& page = p.pages.back();
    for (int to = 0; to < bounds_.slots(); ++to) {
      const Proc& q = *procs[to];
      if (to == slot || !q.running() || q.counter.epoch() + 1 != p.pages.size() || page.reach[to].ready != 255)
        continue;
      const Page& taken = q.page();
      const std::uint64_t committed = q.counter.committed();
      if (page.ready <= taken.placed && page.placed <= taken.prepared && page.prepared <= committed) continue;
      act_member(s, slot, Do::kLoseFrames,
                 static_cast<std::uint64_t>(to) | taken.placed << 8 | taken.prepared << 16 | committed << 24, visit);
    }
  }
}

// Steps that only one thing can come of, and that nothing else can come between with effect, are taken at once.
void World::emit(const Action& action, State next, const std::string& violation, const Visit& visit) {
  while (settle_step(next)) {
  }
  visit(action, next, violation);
}

bool World::settle_step(State& s) {
  for (int slot = 0; slot < bounds_.slots(); ++slot) {
    const Link& link = links_[s.link[slot]];
    const Proc& p = procs_[s.proc[slot]];
    if (p.running() && !link.to_member.empty()) {  // a message that changes nothing: later ones are behind it
      const MemberResult& result = member_step(s.proc[slot], Do::kHear, link.to_member.front());
      if (result.proc == s.proc[slot] && result.said.empty()) {
        Link rest = link;
        rest.to_member.erase(rest.to_member.begin());
        s.link[slot] = link_id(std::move(rest));
        return true;
      }
    }
    if (p.running() && p.freeze_asked != 0 && link.up && s.failures_left == 0) {  // as if it had heard the wedge later
      const MemberResult& result = member_step(s.proc[slot], Do::kFreeze, 0);
      Link said = link;
      said.to_coord.insert(said.to_coord.end(), result.said.begin(), result.said.end());
      s.proc[slot] = result.proc;
      s.link[slot] = link_id(std::move(said));
      return true;
    }
    if (!link.to_coord.empty()) {  // a report about an epoch that is over
      const auto* up = std::get_if<ToCoordinator>(&messages_[link.to_coord.front()].what);
      const auto* wedged = up ? std::get_if<Wedged>(up) : nullptr;
      const Coord& c = coords_[s.coord];
      if (wedged && link.known && wedged->report.epoch < c.log.size()) {
        const CoordResult& result = coord_step(s.coord, Act::kDeliverUp, slot, link.to_coord.front());
        if (result.coord != s.coord || !result.sends.empty()) continue;
        Link rest = link;
        rest.to_coord.erase(rest.to_coord.begin());
        s.link[slot] = link_id(std::move(rest));
        return true;
      }
    }
  }
  return false;
}

void World::act_coord(const State& s, Action action, std::uint32_t message, const Visit& visit) {
  State next = s;
  const bool timeout = action.act == Act::kSilence || action.act == Act::kDeadline;
  if (action.fault)
    --next.failures_left;
  else if (timeout && (action.arg == 1))
    --next.timeouts_left;
  std::array<std::optional<Link>, kMaxSlots> links;
  const auto link = [&](int slot) -> Link& {
    if (!links[slot]) links[slot] = links_[s.link[slot]];
    return *links[slot];
  };
  std::uint64_t argument = message;
  if (action.act == Act::kDeliverUp) {
    Link& l = link(action.slot);
    l.to_coord.erase(l.to_coord.begin());
    const auto* up = std::get_if<ToCoordinator>(&messages_[message].what);
    l.known = up != nullptr && (l.known || std::holds_alternative<Hello>(*up));
  } else if (action.act == Act::kCacheReport) {
    argument = s.proc[action.slot];
  }
  const CoordResult& result = coord_step(s.coord, action.act, action.slot, static_cast<std::uint32_t>(argument));
  next.coord = result.coord;
  for (const auto& [slot, m] : result.sends) {
    Link& l = link(slot);
    const bool lost = !l.up || !l.known || std::find(l.to_coord.begin(), l.to_coord.end(), kLost) != l.to_coord.end();
    if (!lost) l.to_member.push_back(m);
  }
  for (int slot = 0; slot < kMaxSlots; ++slot)
    if (links[slot]) next.link[slot] = link_id(std::move(*links[slot]));
  if (next == s) return;
  emit(action, next, result.violation, visit);
}

void World::act_member(const State& s, int slot, Do what, std::uint64_t arg, const Visit& visit, bool fault, bool ask) {
  const MemberResult& result = member_step(s.proc[slot], what, arg);
  State next = s;
  next.proc[slot] = result.proc;
  const bool wrong_rule_step = what == Do::kAbort || what == Do::kReturnBuffer;
  if (ask)
    --next.asks_left;
  else if (fault && !wrong_rule_step)
    --next.failures_left;
  Link link = links_[s.link[slot]];
  if (what == Do::kHear) link.to_member.erase(link.to_member.begin());
  if (what == Do::kConnect) link.up = true;
  if (link.up) link.to_coord.insert(link.to_coord.end(), result.said.begin(), result.said.end());
  if (link.up && !procs_[result.proc].running()) link = with_lost(std::move(link));
  next.link[slot] = link_id(std::move(link));
  if (next.proc == s.proc && next.link == s.link) return;
  emit({Act::kMember, static_cast<std::uint8_t>(slot), what, fault, arg}, next, result.violation, visit);
}

const World::MemberResult& World::member_step(std::uint32_t proc, Do what, std::uint64_t arg) {
  const Key key{proc, static_cast<std::uint16_t>(what), arg};
  if (auto it = member_memo_.find(key); it != member_memo_.end()) return it->second;
  Proc p = procs_[proc];
  const ToMember* message = what == Do::kHear || what == Do::kStray
                                ? &std::get<ToMember>(messages_[static_cast<std::uint32_t>(arg)].what)
                                : nullptr;
  const Proc* source = what == Do::kFetched && arg != 0 ? &procs_[static_cast<std::uint32_t>(arg - 1)] : nullptr;
  const Step step = take_step(p, bounds_, what, arg, message, source);
  MemberResult result;
  result.violation = step.violation;
  for (const ToCoordinator& said : step.said) result.said.push_back(messages_.id(Message{said}));
  result.proc = procs_.id(std::move(p));
  return member_memo_.emplace(key, std::move(result)).first->second;
}

const World::CoordResult& World::coord_step(std::uint32_t coord, Act act, int slot, std::uint32_t message) {
  const Key key{coord, static_cast<std::uint16_t>(static_cast<int>(act) << 8 | slot), message};
  if (auto it = coord_memo_.find(key); it != coord_memo_.end()) return it->second;
  Coord c = coords_[coord];
  CoordResult result;
  const Incarnation inc = incarnation_of(slot);
  switch (act) {
    case Act::kDeliverUp:
      if (message == kLost)
        apply_input(c, MemberLost{inc}, result);
      else
        apply_input(c, FromMember{inc, std::get<ToCoordinator>(messages_[message].what)}, result);
      if (bounds_.rule == Rule::kEarlyCut) StateAccess::trust_cut(c.core);
      break;
    case Act::kWrite: {
      const Decision d = *c.writing;
      c.log.push_back(d);
      c.writing.reset();
      for (Report& r : c.cached) r = {d.view.epoch, d.trim, d.trim, d.high};
      apply_input(c, Logged{d.view.epoch}, result);
      break;
    }
    case Act::kSilence:
      StateAccess::silence(c.core, inc, kNow);
      apply_input(c, Tick{}, result);
      break;
    case Act::kDeadline:
      StateAccess::deadline(c.core, kNow);
      apply_input(c, Tick{}, result);
      break;
    case Act::kHeartbeat: apply_input(c, FromMember{inc, Heartbeat{}}, result); break;
    case Act::kRestart: {
      const std::optional<Decision> last = c.log.empty() ? std::nullopt : std::optional(c.log.back());
      c.core = Coordinator(coordinator_config(++c.life), last, kNow);
      c.writing.reset();
      break;
    }
    case Act::kCacheReport: {
      const CommitCounter& counter = procs_[message].counter;
      if (counter.epoch() == c.cached[slot].epoch)
        c.cached[slot] = {counter.epoch(), counter.prepared(), counter.committed(), counter.high()};
      break;
    }
    default: RG_CHECK_MSG(false, "not a step of the coordinator");
  }
  result.coord = coords_.id(std::move(c));
  return coord_memo_.emplace(key, std::move(result)).first->second;
}

void World::apply_input(Coord& c, const CoordinatorInput& input, CoordResult& result) {
  CoordinatorActions actions;
  c.core.on(input, kNow, actions);
  std::vector<FromMember> echoes;
  for (const CoordinatorAction& action : actions) {
    if (const auto* append = std::get_if<AppendLog>(&action)) {
      if (c.writing || append->decision.view.epoch != c.log.size() + 1)
        result.violation = "G6: an epoch is decided twice";
      if (bounds_.rule == Rule::kTrimMax) {
        Decision& d = StateAccess::pending(c.core);
        for (const auto& [inc, report] : StateAccess::reports(c.core))
          if (d.view.contains(inc)) d.trim = std::max(d.trim, report.prepared);
      }
      c.writing = StateAccess::pending(c.core);
      // Where a group was founded anew no step of its members lies behind them.
      const bool begins = c.writing->founds() || std::any_of(c.log.begin(), c.log.end(), [&](const Decision& d) {
                            return d.founds() && d.trim == c.writing->trim;
                          });
      if (c.writing->planned && !bounds_.mark(c.writing->trim) && !begins)
        result.violation =
            "G4: a planned change is cut at op " + std::to_string(c.writing->trim) + ", which ends no step";
      continue;
    }
    const auto& send = std::get<SendToMember>(action);
    const Decision* told = nullptr;
    if (const auto* install = std::get_if<Install>(&send.message)) told = &install->decision;
    if (const auto* wedge = std::get_if<Wedge>(&send.message)) told = &wedge->made;
    if (told && (told->view.epoch > c.log.size() || !(c.log[told->view.epoch - 1] == *told)))
      result.violation = "G6: a member hears of a decision that is not durable";
    const int slot = slot_of(send.to);
    if (bounds_.rule == Rule::kCachedPrepared && std::holds_alternative<Wedge>(send.message))
      echoes.push_back({send.to, Wedged{0, c.cached[slot]}});
    else
      result.sends.emplace_back(slot, messages_.id(Message{send.message}));
  }
  for (const FromMember& echo : echoes) apply_input(c, echo, result);
}

}  // namespace regroup::model

// Traces in words: each step as a line of a script, each state as a few lines.
#include <sstream>

#include "tests/model/state_access.h"
#include "tests/model/world.h"

namespace regroup::model {
namespace {

std::string who(const Incarnation& inc) { return std::to_string(slot_of(inc)); }
std::string text(const View& view) {
  std::string out = "{";
  for (const MemberInfo& m : view.members) out += (out.size() > 1 ? "," : "") + who(m.inc);
  return out + "}";
}
std::string text(const Decision& d) {
  std::string out = "epoch " + std::to_string(d.view.epoch) + " " + text(d.view) + " trim " + std::to_string(d.trim);
  for (const FailedOp& f : d.failed) out += " fails " + std::to_string(f.op);
  return out + (d.planned ? " planned" : "");
}
std::string text(const Report& r) {
  return "epoch " + std::to_string(r.epoch) + " prepared " + std::to_string(r.prepared) + " committed " +
         std::to_string(r.committed) + " high " + std::to_string(r.high);
}

struct Words {
  std::string operator()(const Hello& m) const {
    return "Hello(epoch " + std::to_string(m.installed) + (m.wedged ? ", wedged" : "") + (m.ready != Readiness::kNo ? ", ready" : "") +
           ")";
  }
  std::string operator()(const Heartbeat&) const { return "Heartbeat"; }
  std::string operator()(const Ready&) const { return "Ready"; }
  std::string operator()(const Wedged& m) const { return "Wedged(" + text(m.report) + ")"; }
  std::string operator()(const CutDone& m) const { return "CutDone(op " + std::to_string(m.op) + ")"; }
  std::string operator()(const Level& m) const {
    return "Level(op " + std::to_string(m.op) + (m.ok ? ")" : ", failed)");
  }
  std::string operator()(const Suspect& m) const { return "Suspect(" + who(m.who) + ")"; }
  std::string operator()(const FailOp& m) const { return "FailOp(op " + std::to_string(m.what.op) + ")"; }
  std::string operator()(const AskChange&) const { return "AskChange"; }
  std::string operator()(const Leave&) const { return "Leave"; }
  std::string operator()(const Welcome& m) const { return "Welcome(epoch " + std::to_string(m.epoch) + ")"; }
  std::string operator()(const Refuse& m) const { return "Refuse(" + m.detail + ")"; }
  std::string operator()(const Wedge& m) const { return "Wedge(epoch " + std::to_string(m.made.view.epoch) + ")"; }
  std::string operator()(const Notice& m) const { return "Notice(epoch " + std::to_string(m.epoch) + ")"; }
  std::string operator()(const Fetch& m) const {
    return "Fetch(op " + std::to_string(m.op) + " from " + who(m.source.inc) + ")";
  }
  std::string operator()(const Install& m) const { return "Install(" + text(m.decision) + ")"; }
  std::string operator()(const Evicted& m) const { return "Evicted(epoch " + std::to_string(m.epoch) + ")"; }
};

std::string text(const Message& m) {
  if (const auto* up = std::get_if<ToCoordinator>(&m.what)) return std::visit(Words{}, *up);
  if (const auto* down = std::get_if<ToMember>(&m.what)) return std::visit(Words{}, *down);
  return "(connection lost)";
}

const char* name_of(Do what) {
  switch (what) {
    case Do::kHear: return "hears";
    case Do::kConnect: return "connects to the coordinator";
    case Do::kFreeze: return "freezes its engine and reports";
    case Do::kSubmit: return "submits op ";
    case Do::kSettle: return "settles as failed op ";
    case Do::kPlace: return "places its shard of op ";
    case Do::kPrepare: return "raises prepared to op ";
    case Do::kPrepareOdd: return "has a CORRUPT result, raises prepared to op ";
    case Do::kCommit: return "applies the commit rule to op ";
    case Do::kCopyOut: return "copies out op ";
    case Do::kCaughtUp: return "has caught up";
    case Do::kFetched: return "fetches the state";
    case Do::kSuspect: return "suspects member ";
    case Do::kAskChange: return "asks for a view change";
    case Do::kAskFail: return "asks to fail op ";
    case Do::kRefuse: return "refuses the stale shape op ";
    case Do::kAskLeave: return "wants to leave";
    case Do::kWithdraw: return "WITHDRAWS";
    case Do::kStray: return "hears a STRANGER: ";
    case Do::kCrash: return "CRASHES";
    case Do::kAbort: return "gives up by itself op ";
    case Do::kReturnBuffer: return "gives back the buffer of op ";
    case Do::kLoseFrames: return ", dead, is no longer heard by member ";
  }
  return "?";
}
const char* name_of(Coordinator::Phase phase) {
  constexpr const char* names[] = {"idle", "cutting", "wedging", "levelling", "logging"};
  return names[static_cast<int>(phase)];
}
const char* name_of(Member::Phase phase) {
  constexpr const char* names[] = {"observer", "active", "freezing", "wedged", "ended"};
  return names[static_cast<int>(phase)];
}

}  // namespace

std::string World::describe(const State& s, const Action& a) const {
  const std::string member = "member " + std::to_string(a.slot);
  const auto number = [&](std::size_t id) { return messages_[static_cast<std::uint32_t>(id)]; };
  switch (a.act) {
    case Act::kMember: {
      const Proc& p = procs_[s.proc[a.slot]];
      std::string line = member + " " + name_of(a.what);
      switch (a.what) {
        case Do::kHear: return line + " " + text(number(a.arg));
        case Do::kStray: return line + text(number(a.arg));
        case Do::kSubmit: return line + std::to_string(p.counter.high() + 1);
        case Do::kPlace:
          return line + std::to_string(p.page().placed + 1) + " in epoch " + std::to_string(p.counter.epoch());
        case Do::kPrepare:
        case Do::kPrepareOdd:
          return line + std::to_string(p.counter.prepared() + 1) + " in epoch " + std::to_string(p.counter.epoch());
        case Do::kCommit: return line + std::to_string(p.counter.committed() + 1);
        case Do::kSettle:
        case Do::kRefuse:
        case Do::kAskFail:
        case Do::kAbort:
        case Do::kReturnBuffer: return line + std::to_string(p.counter.committed() + 1);
        case Do::kCopyOut: return line + std::to_string(p.copied + 1);
        case Do::kFetched: return line + (a.arg == 0 ? ": failed, the source is gone" : "");
        case Do::kSuspect: return line + std::to_string(a.arg) + ", wrongly";
        case Do::kLoseFrames: return "member " + std::to_string(a.slot) + name_of(a.what) + std::to_string(a.arg & 3);
        default: return line;
      }
    }
    case Act::kDeliverUp:
      return "coordinator hears " + member + ": " + text(number(links_[s.link[a.slot]].to_coord.front()));
    case Act::kWrite: return "coordinator writes its log: " + text(*coords_[s.coord].writing);
    case Act::kSilence: return "coordinator's detector suspects " + member + (a.fault ? ", WRONGLY" : "");
    case Act::kDeadline:
      return std::string("coordinator's deadline passes") + (a.fault ? ", THOUGH ALL ARE ALIVE" : "");
    case Act::kHeartbeat: return "coordinator hears " + member + ": Heartbeat";
    case Act::kBreak: return "the connection of " + member + " BREAKS";
    case Act::kLoseUp: return "LOST: " + text(number(links_[s.link[a.slot]].to_coord.front())) + " of " + member;
    case Act::kLoseDown:
      return "LOST on its way to " + member + ": " + text(number(links_[s.link[a.slot]].to_member.front()));
    case Act::kLateUp: return "LATE: " + text(number(links_[s.link[a.slot]].to_coord.front())) + " of " + member;
    case Act::kLateDown:
      return "LATE on its way to " + member + ": " + text(number(links_[s.link[a.slot]].to_member.front()));
    case Act::kRepeatUp: return "REPEATED: " + text(number(links_[s.link[a.slot]].to_coord.front())) + " of " + member;
    case Act::kRepeatDown:
      return "REPEATED on its way to " + member + ": " + text(number(links_[s.link[a.slot]].to_member.front()));
    case Act::kRestart: return "the coordinator CRASHES and comes back with its log";
    case Act::kCacheReport: return "coordinator hears " + member + ": Heartbeat with its prepared";
  }
  return "?";
}

std::string World::picture(const State& s) const {
  std::ostringstream out;
  const Coord& c = coords_[s.coord];
  out << "    coordinator: " << name_of(c.core.phase()) << ", "
      << (c.core.last() ? text(*c.core.last()) : std::string("no view")) << ", suspects {";
  for (const Incarnation& inc : c.core.suspected()) out << who(inc) << " ";
  out << "}\n";
  for (int a = 0; a < bounds_.slots(); ++a) {
    const Proc& p = procs_[s.proc[a]];
    const Link& l = links_[s.link[a]];
    out << "    member " << a << ": " << (!p.alive ? "dead" : name_of(p.member.phase())) << ", epoch "
        << p.counter.epoch() << ", submitted " << p.counter.high() << ", prepared " << p.counter.prepared()
        << ", committed " << p.counter.committed() << ", over " << int{p.copied} << (l.up ? "" : ", not connected");
    for (std::uint32_t m : l.to_coord) out << "; to coordinator " << text(messages_[m]);
    for (std::uint32_t m : l.to_member) out << "; from coordinator " << text(messages_[m]);
    out << "\n";
  }
  return out.str();
}

std::string World::components() const {
  return std::to_string(coords_.size()) + " coordinators, " + std::to_string(procs_.size()) + " members, " +
         std::to_string(links_.size()) + " links, " + std::to_string(messages_.size()) + " messages";
}

}  // namespace regroup::model

// World: members, the coordinator, the connections between them, and every step that can happen next. States are small:
// a number per component, each component kept once (intern.h); what a component does on an input is computed once.
//
// Connections are FIFO and break with what is on them: then the member connects anew, and the coordinator notices the
// loss whenever. A single message that is lost or overtaken, or comes twice, is a failure (and where one is missing,
// the connection will break). Pauses are delays: whoever is paused takes no step, and wakes whenever. Time stands
// still; a deadline fires as a step: freely where it is right (someone awaited is dead or cut off), else as a failure.
// Members read peers' words when they use them: words only rise, so reading earlier, or in any order, leads to no other
// state.
#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ft/core/coordinator.h"
#include "tests/model/bounds.h"
#include "tests/model/intern.h"
#include "tests/model/proc.h"

namespace regroup::model {

struct State {
  std::uint32_t coord = 0;
  std::array<std::uint32_t, kMaxSlots> proc{};
  std::array<std::uint32_t, kMaxSlots> link{};
  std::uint16_t failures_left = 0;
  std::uint16_t asks_left = 0;
  std::uint16_t timeouts_left =
      0;  // of living members that are cut off: follow from a failure, but are bounded like it
  bool operator==(const State&) const = default;
};

// The coordinator's process and its disk.
struct Coord {
  Coordinator core;
  std::vector<Decision> log;        // durable, by epoch - 1
  std::optional<Decision> writing;  // handed to the disk
  std::uint64_t life = 1;
  std::array<Report, kMaxSlots> cached{};  // wrong rule: what heartbeats said
  void put(Bytes& out) const;
};

struct Message {  // either way; nothing: the end of a broken connection
  std::variant<std::monostate, ToCoordinator, ToMember> what;
  void put(Bytes& out) const;
};
inline constexpr std::uint32_t kLost = 0;  // number of the message that means: the connection is gone

struct Link {
  bool up = false;     // the member's side stands
  bool known = false;  // the coordinator has its hello
  bool lossy = false;  // a message was lost or overtaken: it will break
  std::vector<std::uint32_t> to_coord, to_member;
  const Interner<Message>* messages = nullptr;
  void put(Bytes& out) const;
};

enum class Act : std::uint8_t {
  kMember,     // `what` at `slot` with `arg`
  kDeliverUp,  // the coordinator takes the next message of `slot`
  kWrite,      // the decision is durable, and the coordinator knows (what it does in between it can do before)
  kSilence,    // the detector suspects `slot`
  kDeadline,   // the wedge or level deadline passes
  kHeartbeat,  // of `slot`, where it is the only thing that a lost coordinator waits for
  kBreak,      // the connection of `slot` breaks
  kRestart,    // the coordinator dies and comes back
  kLoseUp,     // the first message of `slot` to the coordinator is lost, late, comes twice; or the first to it
  kLoseDown,
  kLateUp,
  kLateDown,
  kRepeatUp,
  kRepeatDown,
  kCacheReport,  // wrong rule: a heartbeat carries `prepared` of `slot`
};
struct Action {
  Act act = Act::kMember;
  std::uint8_t slot = 0;
  Do what = Do::kHear;
  bool fault = false;  // counts against a bound; nothing may depend on it for progress
  std::uint64_t arg = 0;
};

class World {
 public:
  explicit World(const Bounds& bounds);

  [[nodiscard]] State initial();
  // Calls visit(action, next state, violation or "") for every step that is possible in `s`.
  using Visit = std::function<void(const Action&, const State&, const std::string&)>;
  void successors(const State& s, const Visit& visit);
  // What a guarantee says about the state as a whole; empty: nothing.
  [[nodiscard]] std::string violation(const State& s) const;
  // Nothing is left to be done: every living member knows where it stands, and who is in the view has finished its ops.
  [[nodiscard]] bool goal(const State& s) const;
  [[nodiscard]] Coordinator::Phase phase(const State& s) const { return coords_[s.coord].core.phase(); }

  // The same number for states that differ in the members' names alone; another one but for chance (64 bits).
  [[nodiscard]] std::uint64_t signature_of(const State& s) const;

  [[nodiscard]] std::string describe(const State& s, const Action& action) const;
  [[nodiscard]] std::string picture(const State& s) const;
  [[nodiscard]] std::string components() const;

 private:
  struct CoordResult {
    std::uint32_t coord = 0;
    std::vector<std::pair<int, std::uint32_t>> sends;
    std::string violation;
  };
  struct MemberResult {
    std::uint32_t proc = 0;
    std::vector<std::uint32_t> said;
    std::uint64_t installs = 0;  // epoch
    bool ended = false;
    std::string violation;
  };
  struct Key {
    std::uint32_t id;
    std::uint16_t what;
    std::uint64_t arg;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& k) const {
      return (k.arg * 0x9e3779b97f4a7c15ull + k.id) * 0xbf58476d1ce4e5b9ull + k.what * 0x94d049bb133111ebull;
    }
  };

  void coordinator_steps(const State& s, const Visit& visit);
  void member_steps(const State& s, int slot, const Visit& visit);
  void engine_steps(const State& s, int slot, const Visit& visit);
  void fault_steps(const State& s, const Visit& visit);
  void wire_faults(const State& s, int slot, const Visit& visit);
  void strangers(const State& s, int slot, const Visit& visit);

  const CoordResult& coord_step(std::uint32_t coord, Act act, int slot, std::uint32_t message);
  const MemberResult& member_step(std::uint32_t proc, Do what, std::uint64_t arg);
  void act_coord(const State& s, Action action, std::uint32_t message, const Visit& visit);
  void act_member(const State& s, int slot, Do what, std::uint64_t arg, const Visit& visit, bool fault = false,
                  bool ask = false);
  void act_link(const State& s, const Action& action, const Visit& visit);
  void apply_input(Coord& c, const CoordinatorInput& input, CoordResult& result);
  [[nodiscard]] bool link_broken(const Link& l) const { return !l.up || !l.known; }
  [[nodiscard]] Link with_lost(Link l) const;
  void emit(const Action& action, State next, const std::string& violation, const Visit& visit);
  bool settle_step(State& s);
  std::uint32_t link_id(Link l) {
    l.messages = &messages_;
    return links_.id(std::move(l));
  }
  [[nodiscard]] bool reachable(const State& s, int slot) const;

  Bounds bounds_;
  std::vector<Renaming> renamings_;  // of members that the protocol cannot tell apart
  Interner<Coord> coords_{renamings_};
  Interner<Proc> procs_{renamings_};
  Interner<Link> links_{renamings_};
  Interner<Message> messages_{renamings_};
  std::unordered_map<Key, CoordResult, KeyHash> coord_memo_;
  std::unordered_map<Key, MemberResult, KeyHash> member_memo_;
};

}  // namespace regroup::model

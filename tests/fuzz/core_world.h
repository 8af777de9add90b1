// World of the target `core`: a coordinator and up to eight lives of members, the production objects, fed by a script.
// It carries what they say to each other (through the codec), plays the data side by its contract, and checks after
// every step what each machine owes its driver whatever it is told. Threading: none.
//
// Impossible by the contract of ft/driver and runtime/work, so never done here:
// - a message from nobody: the server reads none before a hello, of a null incarnation or of another one than before;
// - Logged of a decision that was not handed to AppendLog; a log that an earlier life of the coordinator did not write;
// - time that runs backwards;
// - of the counter: prepare without can_prepare, commit above committable, submit without room, settle out of order;
// - Frozen, CutReached, LevelReached without an order, in an honest world (a forged one invents them too).
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "ft/core/commit_counter.h"
#include "ft/core/coordinator.h"
#include "ft/core/member.h"
#include "ft/sim/checker.h"
#include "tests/fuzz/source.h"

namespace regroup::fuzz {

inline constexpr LogId kLog = 7;
inline constexpr OpId kWindow = 4;

struct Life {
  explicit Life(const MemberConfig& config) : member(config) {}
  [[nodiscard]] const Incarnation& inc() const { return member.config().self.inc; }
  Member member;
  CommitCounter counter;
  std::uint32_t index = 0;
  bool alive = true, over = false;        // over: Ended was seen
  bool connected = false, bound = false;  // bound: the coordinator holds a connection of it
  std::deque<ToMember> down;
  std::deque<ToCoordinator> up;
  std::optional<Epoch> freeze;  // ordered, not answered
  std::optional<Fetch> fetch;
  bool cut_told = false;
  std::set<OpId> asked;                   // ops that a decision is asked to fail, this epoch
  std::map<OpId, std::uint64_t> digests;  // of what it has prepared
  std::map<Epoch, OpId> ready, words;     // what peers see of it, for good
};

class World {
 public:
  explicit World(Source& source);
  void step();

 private:
  // core_world.cc: what the machines do, and what is held against it
  void coordinator_on(const CoordinatorInput& input);
  void member_on(Life& life, const MemberInput& input);
  void act(const AppendLog& action);
  void act(const SendToMember& action);
  void act(Life& life, const InstallData& action);
  void carry_up(Life& life, bool again);
  void carry_down(Life& life, bool again);
  void carry_all(bool up);
  void sync(bool dies);
  void round(bool data);
  void start_coordinator();
  Life& spawn(std::uint32_t replica);
  void record(sim::Record r);
  sim::Record about(const Life& life, sim::What what, OpId op, Epoch epoch) const;
  // core_data.cc: the data side of one life
  void data_step(Life& life, std::uint8_t what);
  void try_prepare(Life& life);
  void settle(Life& life);
  void observe(Life& life);
  void answer(Life& life);
  // core_forge.cc: messages that nobody sent
  MemberInfo any_info();
  Incarnation any_inc();
  FailedOp any_failed();
  Report any_report();
  Decision any_decision();
  ToMember any_to_member();
  ToCoordinator any_to_coordinator(const Life& from);
  void forge(Life& life, std::uint8_t what);

  Source& source_;
  bool honest_ = true;  // nothing is forged: the histories of all must agree
  std::uint32_t world_size_ = 1;
  std::uint64_t locality_ = 1;
  Instant now_{1};
  std::uint64_t coordinator_life_ = 0;
  std::optional<Coordinator> coordinator_;
  std::vector<Decision> durable_;
  std::optional<Decision> writing_;
  std::deque<Life> lives_;
  sim::Checker checker_;
};

}  // namespace regroup::fuzz

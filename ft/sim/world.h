// World: a group, its coordinator and the network between them, in one thread and virtual time. The production objects of
// ft/core and the production plans of runtime/algo run in it; everything around them is drawn from the scenario's seed,
// so the same seed gives the same history, byte for byte.
//
// Safety phase: faults of every kind, while the checker reads along. Liveness phase: faults end, what was cut heals, who
// was stopped goes on; then all members that are connected must end the program within a bound of virtual time (G5).
// Control messages: connections are FIFO and break with what is on them; one may be lost (then the connection breaks
// later), come twice or be overtaken. Data messages come in any order; what is sent over a cut waits until it heals, or
// is lost when the link breaks. Shared memory is read where it lies, whoever owns it, alive or dead.
#pragma once

#include <deque>
#include <queue>
#include <string>

#include "ft/core/coordinator.h"
#include "ft/sim/checker.h"
#include "ft/sim/data_bug.h"
#include "ft/sim/life.h"

namespace regroup::sim {

struct RunReport {
  std::string violation;  // empty: none. "G1: ...", with the virtual time
  std::array<std::uint32_t, kFaultKinds> faults{};  // that happened
  std::uint64_t view_changes = 0, commits = 0, failures = 0, messages = 0, messages_failed = 0, redos = 0, joins = 0, events = 0, restarts = 0;
  // Joins: while a view changed otherwise, two at once; catch-ups begun anew (journal or snapshot over its bound, feeder lost).
  std::uint64_t joins_in_change = 0, joins_of_two = 0, snapshots_again = 0;
  bool lost = false;      // all members of the last view died: nothing can be decided any more, and nothing was
  std::int64_t virtual_ns = 0;
};

// Distinguishes decisions of one epoch.
[[nodiscard]] std::uint64_t fingerprint(const Decision& d);

class World {
 public:
  // `log`: null, or what every record and fault is appended to.
  World(const Scenario& scenario, DataBug bug, std::string* log);
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  RunReport run();

 private:
  enum class Ev : std::uint8_t {
    kUp, kDown, kConnect, kLost, kWake, kSubmit, kFreeze, kData, kBeat, kTick, kSynced, kCaughtUp, kFetched, kSpawn, kCoordinator,
    kFault, kEndFault, kTell, kMessage, kPost
  };
  struct Event {
    std::int64_t at = 0;
    std::uint64_t seq = 0;
    Ev what = Ev::kWake;
    std::uint32_t a = 0, b = 0;
    std::uint64_t x = 0, y = 0;
    bool operator>(const Event& o) const { return at != o.at ? at > o.at : seq > o.seq; }
  };
  enum class Frame : std::uint8_t { kInput, kResult, kPrepared, kHop, kMessage, kHeld, kSettled };
  struct Data {
    Frame what = Frame::kInput;
    std::uint32_t from = 0, to = 0;  // lives
    std::uint32_t link = 0;          // generation of the link
    Epoch epoch = 0;
    OpId op = 0;  // or the message
    Value value;
    std::uint64_t digest = 0;
    HopKey hop{};  // kHop: where in the route
  };
  struct Conn {
    std::uint32_t life = 0, coordinator = 0;
    bool up = true;                          // the member's side
    bool known = false;                      // the coordinator has its hello
    bool lossy = false;                      // a message was overtaken: it will break
    std::deque<ToCoordinator> to_coordinator;
    std::deque<ToMember> to_member;
  };
  struct Disk {
    LogId log = 0;
    std::vector<Decision> decisions;
  };

  // world.cc: time, the run
  void push(std::int64_t delay, Ev what, std::uint32_t a = 0, std::uint32_t b = 0, std::uint64_t x = 0, std::uint64_t y = 0);
  void dispatch(const Event& e);
  [[nodiscard]] bool done();
  void begin_liveness();
  [[nodiscard]] std::string who_is_stuck() const;
  void record(Record r);
  void note(const std::string& text);
  void violation(const std::string& text);
  [[nodiscard]] std::int64_t around(std::int64_t mean) { return around(mean, rng_); }  // a delay
  [[nodiscard]] static std::int64_t around(std::int64_t mean, Rng& rng);
  [[nodiscard]] bool chance(std::uint32_t of, std::uint32_t in) { return of != 0 && rng_.below(in) < of; }

  // world_control.cc: connections, the coordinator
  std::uint32_t spawn(std::uint32_t replica);
  void start_coordinator(std::size_t disk);
  void stop_coordinator();
  Epoch written();
  void connect(std::uint32_t life);
  void break_conn(int conn, bool tell);
  void deliver_up(const Event& e);
  void deliver_down(const Event& e);
  void stranger(Life& life);
  void coordinator_on(const CoordinatorInput& input);
  void send_up(Life& life, ToCoordinator message);
  void beat(Life& life);
  void member_on(Life& life, const MemberInput& input);
  void act(Life& life, const MemberAction& action);
  void install(Life& life, const InstallData& order);
  void freeze(Life& life, Epoch epoch);
  void fetched(const Event& e);
  void catch_up(Life& life);
  void caught_up(Life& life);
  bool doomed(Life& joiner, Life* source);
  void all_leave();
  void end_life(Life& life, Code code);
  void die(Life& life, bool silent);
  [[nodiscard]] bool blocked(std::uint32_t from, std::uint32_t to) const { return cut_[from][to] != 0; }
  [[nodiscard]] std::uint32_t host_of(const Life& life) const { return life.replica; }
  [[nodiscard]] Life* life_of(const Incarnation& inc);

  // world_data.cc: the program and the planes
  void submit(Life& life);
  void wake(Life& life, std::int64_t delay);
  void wake_peers(const EpochMemory& memory, const Life& but);
  bool step(Life& life);
  bool prepare_step(Life& life, SimOp& op);
  bool shared_step(Life& life, SimOp& op);
  bool network_step(Life& life, SimOp& op);
  bool route_step(Life& life, SimOp& op);  // world_routes.cc
  void send_hops(Life& life, const SimOp& op, Hops& hops);
  [[nodiscard]] algo::Form form_of(OpId op, std::size_t members) const;
  void hold_whole(Life& life, SimOp& op);
  void prepared(Life& life, SimOp& op);
  void observe(Life& life);
  void settle_committed(Life& life, SimOp& op, const EpochMemory& memory);
  void settle_failed(Life& life, SimOp& op, Code code);
  void settled(Life& life);
  void report_cut(Life& life);
  void send(Life& from, std::size_t to, Frame what, OpId op, const Value& value, std::uint64_t digest = 0,
            HopKey hop = {});
  void carry(Data d, std::int64_t delay);
  void arrived(const Event& e);
  void receive(Life& life, const Data& d);
  void watch_links(Life& life);
  [[nodiscard]] bool small(const SimOp& op) const { return spec(op.id).count <= 64; }
  [[nodiscard]] bool has_shard(OpId op, std::size_t n, std::size_t i) const;
  [[nodiscard]] const OpSpec& spec(OpId op) const { return scenario_.ops[op - 1]; }
  [[nodiscard]] Value input_of(const Life& life, OpId op) const;
  [[nodiscard]] Value expected(OpId op, const EpochMemory& memory) const;
  [[nodiscard]] Value result(const SimOp& op, const EpochMemory& memory) const;

  // world_messages.cc
  void enter_messages(Life& life);
  void end_pair(Life& life, std::uint32_t peer, MessagePair& pair);
  void post(const Event& e);
  void take(Life& life, std::uint32_t peer, MessagePair& pair);
  bool pair_step(Life& life, std::uint32_t peer, MessagePair& pair);
  void message_step(Life& life);
  void message_came(Life& life, const Data& d);
  void message_ended(const Life& life, std::uint32_t peer, std::uint64_t n, What what, bool sends, const Value& got);
  void wake_messages(Life& life, std::int64_t delay);
  void tell_message(Life& from, std::uint32_t to, Frame what, std::uint64_t n, const Value& value);
  [[nodiscard]] bool messages_done(const Life& life) const;
  [[nodiscard]] Value message(std::uint32_t from, std::uint32_t to, std::uint64_t n) const;
  [[nodiscard]] std::uint64_t messages_of(std::uint32_t from, std::uint32_t to) const;

  // world_faults.cc
  void fault(const Fault& f);
  void end_fault(const Event& e);
  void anywhere(Life& life);
  void cut(std::uint32_t from, std::uint32_t to, int by);
  void cut_off(std::uint32_t replica, int by);
  [[nodiscard]] Life* living(std::uint32_t replica);

  const Scenario& scenario_;
  const DataBug bug_;
  std::string* log_;
  Rng rng_, message_rng_;
  Checker checker_;
  RunReport report_;
  std::int64_t now_ = 0;
  std::uint64_t seq_ = 0;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::deque<Life> lives_;
  std::map<Incarnation, std::uint32_t> by_inc_;
  std::deque<Conn> conns_;
  std::vector<Data> data_;
  std::vector<std::uint32_t> free_data_;
  std::map<std::uint32_t, std::vector<Data>> early_;  // of epochs that a life has not entered
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> link_;
  std::array<std::array<std::uint16_t, kMaxMembers + 1>, kMaxMembers + 1> cut_{};  // by host; the last is the coordinator's
  std::int64_t clog_ = 1;
  bool hand_over_ = false;             // armed: all leave at the next hand-over
  std::optional<std::uint32_t> doom_;  // armed: of the next that catches up (0) or is handed over to (1)
  bool liveness_ = false;
  std::int64_t bound_ = 0;
  // The coordinator.
  std::array<Disk, 2> disks_;
  std::size_t disk_ = 0;  // in use
  std::optional<Coordinator> coordinator_;
  std::uint32_t coordinator_life_ = 0;
  std::int64_t coordinator_paused_ = 0;
  std::map<Incarnation, int> conn_of_;
  std::optional<Decision> writing_;
};

}  // namespace regroup::sim

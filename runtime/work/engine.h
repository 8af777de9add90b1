// Engine: the data side of one member. Executes ops in FIFO order and obeys what the core orders (freeze, install, cut).
//
// Threads: the right to execute is the token. A blocking call or wait() takes it and drives the queue on its own thread; a
// progress thread drives only what nobody waits for. The control thread never executes: its orders are queued, `stop_`
// makes the driver look at them between chunks and in every wait, and if the token is free they are carried out at once
// (they only move counters and pointers). Two locks: token_ (executing state), mutex_ (queue and waiting), taken in this order.
// Upholds: G4 (FIFO, decisions settle ops), G5 (every wait is timed), G7 (frozen: nothing is raised), G8 (copy-out after commit only).
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/failpoint.h"
#include "base/time.h"
#include "base/token.h"
#include "ft/core/commit_counter.h"
#include "ft/core/member.h"
#include "regroup/options.h"
#include "runtime/exec/message.h"
#include "runtime/exec/plane.h"
#include "runtime/obs/flight_recorder.h"
#include "runtime/work/op_state.h"

namespace regroup {

// What the engine needs from its surroundings (GroupImpl; a fake in tests).
class EngineHost {
 public:
  virtual ~EngineHost() = default;
  virtual void post(MemberInput input) = 0;  // to the core
  virtual void check_peers() = 0;
  // Opens the plane of a view. bad_peer: whom it could not reach.
  virtual Result<std::shared_ptr<Plane>> open_plane(const Decision& decision, std::size_t self, std::size_t& bad_peer) = 0;
  virtual void incarnation_over() = 0;       // evicted: begin again as a new incarnation (not on the calling thread)
  virtual void withdrawn() = 0;              // kUnavailable without a decision: this member must look dead to the others
  // An op with a number is over; its output stands. Before its caller knows. steps: marks settled, with it.
  virtual void settled(const OpState&, const Result<Outcome>&, std::uint64_t /*steps*/) {}
  virtual void state_restored() = 0;         // the first thread inside the library after a rejoin
};

class Engine {
 public:
  enum class Life : std::uint8_t { kJoining, kActive, kEvicted, kOver };
  // An op is pending: its caller waits for it, or will.
  [[nodiscard]] bool pending() const;
  struct Snapshot {  // for heartbeats and the state server
    Epoch epoch;
    OpId committed;
    OpId submitted;
    std::uint64_t steps;
  };

  Engine(const Options& options, EngineHost& host, FlightRecorder& recorder, Failpoints& failpoints);
  ~Engine();

  // --- callers ---
  OpPtr submit(ExecOp&& call, bool wake = true);  // waits while the window is full. wake: see OpOptions::wait_follows
  // Launched as one: consecutive numbers, nobody announces `prepared` before all of them (as far as a window reaches) are.
  void submit_all(std::span<const OpPtr> ops);
  // The outcome, for the caller: an eviction that it tells of counts as told.
  Result<Outcome> wait(const OpPtr& op, Instant deadline);
  Result<Outcome> execute(ExecOp&& call, Instant deadline);
  // Asks that a message be taken back; any thread. Its outcome tells whether it was.
  void cancel_message(const OpPtr& op);
  // Drives until nothing is pending (true) or the deadline.
  bool drain(Instant deadline);
  // Until `life` is no longer kJoining/kEvicted, or the deadline.
  Life wait_installed(Instant deadline);
  Life wait_over(Instant deadline);
  [[nodiscard]] std::shared_ptr<const ViewInfo> view() const;
  [[nodiscard]] Error over() const;  // why the group object has ended
  void close(Code code, const std::string& detail, bool abrupt);
  void set_leaving() { leaving_.store(true); }
  void set_steps(std::uint64_t steps) { steps_.store(steps); }
  [[nodiscard]] Snapshot snapshot() const;
  // Something that a blocked op waits for may have happened; any thread.
  void wake();
  // This member cannot go on (its device is lost): it ends with that error, and the others go on without it. Any thread.
  void lose(const Error& why);
  // The user's state is as of `op` and is not being changed: op is settled and the user has moved on to the next one (nothing is
  // registered: op is settled).
  [[nodiscard]] bool stable_as_of(OpId op) const;

  // --- orders, on the control thread ---
  void order_freeze(Epoch epoch);
  void order_install(const Decision& decision, std::size_t self);
  void order_cut(Epoch epoch);
  void order_end(Code code, const std::string& detail);
  void coordinator_link(bool up);
  void tick(Instant now);

 private:
  Result<Outcome> await(const OpPtr& op, Instant deadline);
  bool glance(const OpState* op);
  void drive_until(const OpState& op, Instant deadline);
  Result<Outcome> still_pending(const OpState& op);
  void tell_eviction(const OpState& op);
  struct Freeze { Epoch epoch; };
  struct InstallOrder { Decision decision; std::size_t self; };
  struct Cut { Epoch epoch; };
  struct End { Code code; std::string detail; };
  struct Withdraw { Code code; std::string detail; };
  using Order = std::variant<Freeze, InstallOrder, Cut, End, Withdraw>;
  enum class Step : std::uint8_t { kSettled, kStopped, kBlocked };

  // engine.cc: callers, token, waiting
  bool drive(const OpState* target, Instant deadline);  // token held; true: blocked
  void release_token();
  void sleep_until_change(std::uint64_t seen, const OpState* op, Instant deadline);
  void changed();
  void progress_loop();
  Status enqueue(std::span<const OpPtr> ops, bool wake = true);
  // engine_step.cc: one op; token held
  Step step(OpState& op, Instant deadline);
  Step attempt(OpState& op);
  Step ask_decision(OpState& op, Code code, MemberId other);
  Step broken(const RunResult& result);
  std::optional<Step> need_plane();
  RunResult prepare(OpState& op);
  std::optional<RunResult> prepare_chain(OpState& front);
  std::optional<Step> unsettled(OpState& op, const RunResult& result);
  std::optional<Step> ready_to_start(OpState& op, bool at_mark);
  void settle(OpState& op, Result<Outcome> result);
  Outcome outcome(const OpState& op, std::shared_ptr<const ViewInfo> view) const;
  void ingest(const OpState& op);
  void report_cut();
  // engine_messages.cc: send and recv; token held
  Step step_messages(Instant deadline);
  void bind(PairMessage& m);
  bool take_back(OpState& op);
  bool may_go(const OpState& op);
  bool end_message(OpState& op);
  void settle_message(OpState& op);
  void tell_settled();
  // engine_orders.cc: token held
  void push(Order order);
  void handle_orders();
  void handle(const Freeze& order);
  void handle(const InstallOrder& order);
  void handle(const Cut& order);
  void handle(const End& order);
  void handle(const Withdraw& order);
  void finish_all(Code code, const std::string& detail);

  const Options& options_;
  EngineHost& host_;
  FlightRecorder& recorder_;
  Failpoints& failpoints_;

  Token token_;
  CommitCounter counter_;
  PairBook pairs_;
  std::vector<OpPtr> running_;           // messages at hand
  std::vector<PairMessage*> messages_;
  std::shared_ptr<Plane> plane_;
  ExecContext context_;
  OpId announced_ = 0;  // highest `prepared` told to the peers in this epoch
  bool last_was_mark_ = true;
  bool restored_pending_ = false;
  Epoch cut_reported_ = 0;
  bool broken_asked_ = false;  // in this epoch
  Instant broken_since_{0};
  std::string broken_detail_;

  mutable std::mutex mutex_;
  std::condition_variable change_;
  std::condition_variable progress_wake_;
  std::deque<OpPtr> queue_;
  std::uint32_t evictions_ = 1;            // counted from 1
  std::atomic<std::uint32_t> told_{1};     // the last one that a caller knows of; until then nothing is begun in the next life
  std::size_t queued_messages_ = 0;  // of queue_
  std::vector<Order> orders_;
  OpId submitted_ = 0;
  std::shared_ptr<const ViewInfo> view_;
  Error over_;

  std::atomic<std::uint32_t> stop_{0};       // give up the token soon: orders wait, or detached (for good)
  std::atomic<bool> orders_pending_{false};
  std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<std::uint32_t> drivers_{0};    // threads inside wait(), which drive
  std::atomic<std::uint64_t> version_{0};    // changes whenever a blocked thread should look again
  std::atomic<Life> life_{Life::kJoining};
  std::atomic<bool> leaving_{false};
  std::atomic<bool> detached_{false};
  std::atomic<bool> pump_{false};            // the plane has bytes to send, or is wanted for that
  bool tell_settled_ = false;                // in this epoch, and no plane stands yet; of the token
  std::atomic<std::uint64_t> posted_{0};     // messages, in all
  std::atomic<Epoch> epoch_{0};
  std::atomic<OpId> committed_{0};
  std::atomic<OpId> submitted_seen_{0};
  std::atomic<std::uint64_t> steps_{0};
  std::atomic<std::uint64_t> settled_count_{0};
  std::atomic<std::int64_t> hold_since_ns_{0};  // below min_members since; 0: no
  // control thread only
  bool link_up_ = false;
  Instant link_down_since_{0};
  Instant pending_since_{0};
  std::uint64_t settled_at_tick_ = 0;
  bool progress_stop_ = false;
  std::thread progress_;
};

}  // namespace regroup

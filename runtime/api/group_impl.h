// GroupImpl: puts one member together: control thread, engine, memory, links, state transfer. No protocol and no data path
// of its own. Lives as long as the Group or any Work that refers to it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/failpoint.h"
#include "base/worker.h"
#include "ft/driver/control.h"
#include "regroup/options.h"
#include "runtime/api/calls.h"
#include "runtime/exec/device_plane.h"
#include "runtime/exec/net_device_plane.h"
#include "runtime/exec/device_stage.h"
#include "runtime/exec/hybrid_plane.h"
#include "runtime/exec/nccl_plane.h"
#include "runtime/exec/net_plane.h"
#include "runtime/exec/shm_plane.h"
#include "runtime/obs/flight_recorder.h"
#include "runtime/state/checkpointer.h"
#include "runtime/state/holder.h"
#include "runtime/state/joiner.h"
#include "runtime/state/state_server.h"
#include "runtime/work/engine.h"
#include "transport/shm/domain.h"

namespace regroup {

class GroupImpl final : public DataSide, public EngineHost {
 public:
  // `parent_ids`: of a sub-group, its members' ids in the group that was split, by rank.
  explicit GroupImpl(Options options, std::vector<MemberId> parent_ids = {});
  ~GroupImpl() override;
  // Until the first view is installed; bounded by join_timeout_s. kViewChanged: give_up() said so first.
  Status start(const std::function<bool()>& give_up = {});
  Status leave(Instant deadline);
  void close(bool abrupt);            // idempotent

  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] const std::vector<MemberId>& parent_ids() const { return parent_ids_; }
  [[nodiscard]] const std::string& coordinator() const { return coordinator_; }  // host:port, as it was found
  Engine& engine() { return engine_; }
  FlightRecorder& recorder() { return recorder_; }
  Failpoints& failpoints() { return failpoints_; }
  [[nodiscard]] Instant deadline(double timeout_s) const;
  [[nodiscard]] calls::Site site() const;   // any thread
  const calls::Site& submit_site();          // the same, on the thread that submits
  // A call as an op, on the thread that submits; its buffers may lie on the device.
  template <class Call>
  Result<ExecOp> make(Call call, const OpOptions& options);
  void share(std::shared_ptr<device::Device> device, bool stalls);  // instead of one of its own, before start(); null: nothing
  [[nodiscard]] std::shared_ptr<device::Device> device() const { return stage_ ? stage_->device() : nullptr; }
  [[nodiscard]] bool device_stalls() const { return stage_ && stage_->stalls(); }
  Result<Outcome> run(Result<ExecOp> call, const OpOptions& options);  // blocking
  OpPtr start(Result<ExecOp> call, const OpOptions& options);          // asynchronous, or held for group_end
  Result<Outcome> wait(const OpPtr& op, double timeout_s);
  Status group_start();
  Status group_end();
  Result<Outcome> seen(Result<Outcome> result);  // the caller has seen this outcome's epoch
  [[nodiscard]] ViewInfo view();
  Result<void*> allocate(std::size_t bytes);
  Status deallocate(void* memory);
  void cancel(OpId op);
  Status begin_update(std::span<const StateRange> ranges);
  Status end_update();
  [[nodiscard]] CatchUp caught_up() const;
  [[nodiscard]] Checkpoints checkpoints() const { return checkpointer_ ? checkpointer_->report() : Checkpoints{}; }
  [[nodiscard]] double last_restore_s() const { return static_cast<double>(restore_ns_.load()) / 1e9; }

  // DataSide, on the control thread
  void freeze(Epoch epoch) override { engine_.order_freeze(epoch); }
  void install(const Decision& decision, std::size_t self) override;
  void cut(Epoch epoch) override { engine_.order_cut(epoch); }
  void fetch(const Fetch& what) override;
  void follow(const Welcome& view) override;
  void ended(Code code, const std::string& detail) override { engine_.order_end(code, detail); }
  void coordinator_link(bool up) override;
  void tick(Instant now) override;
  [[nodiscard]] Progress progress() const override;
  [[nodiscard]] std::string status_json() const override;

  // EngineHost
  void post(MemberInput input) override;
  void check_peers() override;
  Result<std::shared_ptr<Plane>> open_plane(const Decision& decision, std::size_t self, std::size_t& bad_peer) override;
  void incarnation_over() override;
  void withdrawn() override;
  void state_restored() override;
  void settled(const OpState& op, const Result<Outcome>& result, std::uint64_t steps) override;

 private:
  Result<Outcome> run_cut(ExecOp whole, const OpOptions& options);
  OpPtr start_cut(ExecOp whole, const OpOptions& options);
  void die_at(Point point);
  void new_joiner();
  // group_founding.cc: which state a new group begins with
  struct Candidate;
  Status open_checkpoints();
  Result<Candidate> candidate();
  Status agree_on_state(Instant until);
  Status agree_once(Instant until);
  Status take_from(const Candidate& mine, MemberId winner, Instant until);
  Status founding_op(const calls::Uniform& call, bool mark, Instant until);
  [[nodiscard]] std::shared_ptr<state::Joiner> joiner() const;
  Status find_coordinator(ControlOptions& control) const;
  Status open_listeners(const std::string& coordinator);
  Status find_nccl();
  Result<std::unique_ptr<Plane>> open_base(const Decision& decision, std::size_t self, std::size_t& bad_peer);
  // group_device.cc
  Status open_device();
  Status take_seat();
  Status open_port();
  [[nodiscard]] bool may_run_there(const calls::Touched& use) const;
  Status hold(Stage& stage);
  void finish(std::span<const OpPtr> ops);
  MemberConfig member_config();
  [[nodiscard]] std::string config_text() const;
  Status find_figures(const std::string& coordinator);
  [[nodiscard]] algo::Rules plan_rules(const View& view, PlaneKind plane) const;
  [[nodiscard]] std::uint64_t locality() const;

  Options options_;
  const std::vector<MemberId> parent_ids_;
  std::string coordinator_;
  Incarnation inc_;
  FlightRecorder recorder_;
  Failpoints failpoints_;
  std::unique_ptr<shm::Domain> domain_;
  ShmStaging staging_, hybrid_staging_;
  std::unique_ptr<ShmPairs> shm_pairs_;
  std::string data_host_;
  algo::Machine machine_;  // figures of this machine that plans are chosen by: given or measured
  NetStaging net_staging_;
  std::unique_ptr<tcp::LinkSet> links_;
  std::unique_ptr<NcclKeeper> nccl_;  // transport nccl
  std::unique_ptr<state::Holder> holder_;  // where options_.apply is set; so is the joiner
  std::unique_ptr<state::Checkpointer> checkpointer_;
  std::uint64_t checkpoint_step_ = 0;       // of the newest in checkpoint_dir, when this object joined
  std::atomic<bool> founded_{false};        // the members of this view have to agree on a state first
  std::unique_ptr<state::StateServer> state_server_;
  mutable std::mutex joiner_mutex_;
  std::shared_ptr<state::Joiner> joiner_;   // of this incarnation, until it is in a view
  state::Joiner::Progress caught_up_;       // of the last one that was promoted; below joiner_mutex_
  std::shared_ptr<state::Joiner> retired_;  // the last one: its threads end in their own time
  std::mutex close_mutex_;  // before engine_: its threads may still pass here when the rest is gone
  std::atomic<bool> closed_{false};
  Engine engine_;  // after what its planes use
  std::unique_ptr<DeviceStage> stage_;  // Options::device; after engine_, which settles its ops
  std::unique_ptr<DeviceSeat> seat_;    // for ops that are carried out there; after stage_, whose memory its streams write
  std::shared_ptr<DevicePort> port_;    // likewise, over lanes
  bool grouping_ = false;            // of the submitting thread, like the next two
  calls::Site submit_site_;
  std::vector<OpPtr> grouped_;
  std::vector<void*> plain_buffers_;  // registered memory where there is no shared memory
  std::mutex buffers_mutex_;
  std::atomic<Epoch> seen_epoch_{0};
  std::atomic<std::int64_t> restore_ns_{0};
  std::atomic<Control*> control_{nullptr};
  std::unique_ptr<Control> control_owner_;
  std::atomic<bool> stop_fetch_{false};
  std::atomic<bool> left_{false};
  std::thread closer_;  // see die_at
  Worker aux_;  // state transfer, beginning again
};

}  // namespace regroup

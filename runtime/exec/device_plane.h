// DevicePlane: the ops of a group whose members have buffers on devices. In a view that shares memory, an op whose buffers lie on
// devices at all members is carried out there (DeviceRank): every member says in its DeviceBoard, op by op, where its buffers
// are, all are waited for, and all decide alike by what all have said. Everything else is another plane's (`base`), on host
// memory: an op whose buffers lie on a device has its input copied there first (Stage::here).
//
// As on the host: nobody's memory but one's own is written; prepared means that the whole result stands in staging of my own,
// so neither scratch nor anything else of a peer is read after that; inputs are read by who is not prepared only. `prepared` and
// the commit rule are the base plane's.
// A peer's memory that cannot be opened: this member says of every later op in a view with that peer that it has no buffers there.
// Ownership: owns the base plane; borrows the rest. After a lost device: kLost. Upholds G1 G2 G7 G8 on the data side.
#pragma once

#include <memory>
#include <set>
#include <vector>

#include "regroup/types.h"
#include "runtime/exec/device_board.h"
#include "runtime/exec/device_ranks.h"
#include "runtime/exec/plane.h"
#include "transport/shm/domain.h"

namespace regroup {

// What a member has for that, as long as it lives.
struct DeviceSeat {
  static Result<std::unique_ptr<DeviceSeat>> make(std::shared_ptr<device::Device> device, shm::Domain& domain, DeviceRank::Config config);
  // On the thread that submits: makes room for what the op will place here, if it can; else that is tried when it is needed.
  void expect(const OpDesc& desc, const ViewInfo& view);
  std::unique_ptr<DeviceRank> rank;
  shm::OwnedPtr segment;
  DeviceBoard* board = nullptr;  // in it
  std::set<Incarnation> closed;  // whose memory cannot be opened here
  algo::Plan plan;               // of expect()
  std::atomic<bool> open{false};  // this view's ops may be carried out on devices; a hint, for who begins them
};

class DevicePlane final : public Plane {
 public:
  // `shared`: base is of a view that shares memory through `domain`. kUnavailable: as ShmPlane::open.
  static Result<std::unique_ptr<DevicePlane>> open(std::unique_ptr<Plane> base, DeviceSeat& seat, shm::Domain& domain, bool shared,
                                                   const View& view, std::size_t self, std::size_t& bad_peer);

  RunResult run(ExecOp& op, ExecContext& context) override;
  void announce_prepared(OpId op) override { base_->announce_prepared(op); }
  RunResult await_commit(OpId op, CommitCounter& counter, ExecContext& context) override {
    return base_->await_commit(op, counter, context);
  }
  void copy_out(ExecOp& op) override;
  void release(OpId op) override { base_->release(op); }
  RunResult exchange(std::span<PairMessage* const> messages, ExecContext& context) override { return base_->exchange(messages, context); }
  void enter(const PairBook& book) override { base_->enter(book); }
  [[nodiscard]] bool brief(const ExecOp& op) const override { return peers_.empty() && !op.stage && base_->brief(op); }
  bool pump() override { return base_->pump(); }
  void fence() override { base_->fence(); }
  void retire() override { base_->retire(); }
  void withdraw() override;
  [[nodiscard]] const char* name() const override { return base_->name(); }

 private:
  enum class Phase : std::uint8_t { kNone, kSaid, kThere, kPrepared, kHere };
  struct Flight {  // of an op that is not settled
    OpId id = 0;
    Phase phase = Phase::kNone;
    bool begun = false;  // its first chunk was queued
  };
  DevicePlane(std::unique_ptr<Plane> base, DeviceSeat& seat, const View& view, std::size_t self);
  Flight& flight(OpId op) { return flights_[op % flights_.size()]; }

  RunResult say(const ExecOp& op);
  RunResult meet(Flight& f, const ExecOp& op, ExecContext& context);
  RunResult begin(const ExecOp& op);
  RunResult watch(Flight& f, ExecOp& op, ExecContext& context);
  RunResult run_here(ExecOp& op, ExecContext& context);
  [[nodiscard]] std::optional<std::size_t> withdrawn_peer() const;

  std::unique_ptr<Plane> base_;
  DeviceSeat& seat_;
  View view_;
  std::size_t self_;
  struct Peer {
    std::shared_ptr<shm::Peer> memory;  // null: me
    const DeviceBoard* board = nullptr;
  };
  std::vector<Peer> peers_;      // by member; empty: every op is the base plane's
  std::vector<Flight> flights_;  // by op number modulo the window
  algo::Plan plan_;              // of the op at hand
  std::byte* scratch_ = nullptr;  // likewise: what I place there
};

}  // namespace regroup

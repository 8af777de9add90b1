// NetDevicePlane: the ops of a view over lanes that take payloads from a device's memory (UCX), for a member with a device. An op
// whose buffers lie on devices at all members, in the direct form, is carried out there (NetDevice): every member says so beside
// its descriptor, all are waited for, and all decide alike by what all have said. Everything else is a NetPlane's, from host
// memory: an op whose buffers lie on a device has its input copied there first (Stage::here).
//
// Prepared means that the whole result stands in staging of my own on my device, put there by steps of my own. `prepared`, the
// commit rule and messages are the NetPlane's. Whatever drives UCX makes the device the thread's for the while: it asks which
// that is. Ownership: shares the port, borrows links and staging. After a lost device: kLost. Upholds G1 G2 G7 G8 on the data
// side.
#pragma once

#include <memory>

#include "regroup/types.h"
#include "runtime/exec/net_plane.h"

namespace regroup {

class NetDevicePlane final : public Plane {
 public:
  static Result<std::unique_ptr<NetDevicePlane>> open(std::shared_ptr<DevicePort> port, tcp::LinkSet& links, NetStaging& staging, const View& view,
                                                      std::size_t self, NetPlane::Config config);

  RunResult run(ExecOp& op, ExecContext& context) override;
  void announce_prepared(OpId op) override { net_->announce_prepared(op); }
  RunResult await_commit(OpId op, CommitCounter& counter, ExecContext& context) override;
  void copy_out(ExecOp& op) override;
  void release(OpId op) override;
  RunResult exchange(std::span<PairMessage* const> messages, ExecContext& context) override;
  void enter(const PairBook& book) override { net_->enter(book); }
  bool pump() override;
  void fence() override;
  [[nodiscard]] const char* name() const override { return net_->name(); }

  // What the op will take of the port, for who submits it.
  static std::size_t memory_for(const OpDesc& desc, const ViewInfo& view);

 private:
  enum class Phase : std::uint8_t { kNone, kDeclared, kThere, kHere };
  NetDevicePlane(std::shared_ptr<DevicePort> port, std::size_t members)
      : port_(std::move(port)), members_(members), number_(port_->device().host_reads() ? 1 : 2), device_(port_) {}
  RunResult run_here(ExecOp& op, ExecContext& context);

  const std::shared_ptr<DevicePort> port_;
  std::size_t members_;
  std::uint32_t number_;  // told with the descriptor: my buffers lie on a device; which kind of memory that is
  NetDevice device_;
  std::unique_ptr<NetPlane> net_;  // after device_, which it lets go of
  // The op at hand.
  OpId op_ = 0;
  Phase phase_ = Phase::kNone;
  std::vector<OpId> made_there_;  // prepared, not released
};

}  // namespace regroup

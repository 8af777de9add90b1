// NcclPlane: the ops of a view over links, of which NCCL carries those that it can while a communicator of the view
// stands (docs/ ARCHITECTURE.md, "An op through NCCL"). All members decide alike, op by op, from what all have told:
// the number of the communicator that each holds ready. The result goes from NCCL's scratch to staging of ours before
// an op is prepared, with a digest, so copy-out and what peers may still do to that scratch have nothing in common.
// Ownership: borrows keeper, links, staging, as NetPlane. A failure of NCCL, or its silence, ends the epoch (kBroken)
// and what was begun is redone; the keeper makes another communicator behind that. Upholds G1 (by digests), G2, G7, G8.
#pragma once

#include <memory>

#include "runtime/exec/nccl_keeper.h"
#include "runtime/exec/net_plane.h"

namespace regroup {

class NcclPlane final : public Plane {
 public:
  static Result<std::unique_ptr<NcclPlane>> open(NcclKeeper& keeper, tcp::LinkSet& links, NetStaging& staging,
                                                 const View& view, std::size_t self, NetPlane::Config config);
  ~NcclPlane() override { keeper_.leave(epoch_); }

  RunResult run(ExecOp& op, ExecContext& context) override;
  void announce_prepared(OpId op) override { net_->announce_prepared(op); }
  RunResult await_commit(OpId op, CommitCounter& counter, ExecContext& context) override;
  void copy_out(ExecOp& op) override { net_->copy_out(op); }
  void release(OpId op) override { net_->release(op); }
  RunResult exchange(std::span<PairMessage* const> messages, ExecContext& context) override {
    return net_->exchange(messages, context);
  }
  void enter(const PairBook& book) override { net_->enter(book); }
  bool pump() override;
  void fence() override;
  [[nodiscard]] const char* name() const override { return "nccl"; }

 private:
  enum class Phase : std::uint8_t { kNone, kDeclared, kLinks, kRunning };
  NcclPlane(NcclKeeper& keeper, const View& view, std::size_t self, algo::Rules rules);
  [[nodiscard]] bool takes(const OpDesc& desc) const;
  void turn();  // the keeper goes on, and its letters
  void launch(const ExecOp& op);
  RunResult watch(ExecOp& op, ExecContext& context);
  void finish(ExecOp& op);
  RunResult broken(const std::string& why);

  NcclKeeper& keeper_;
  Epoch epoch_;
  std::size_t self_, members_;
  algo::Rules rules_;
  std::unique_ptr<NetPlane> net_;
  // The op at hand.
  OpId op_ = 0;
  Phase phase_ = Phase::kNone;
  std::uint32_t said_ = 0;
  std::span<std::byte> out_;
  Instant ends_by_{};
};

}  // namespace regroup

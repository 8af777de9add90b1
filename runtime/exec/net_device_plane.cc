#include "runtime/exec/net_device_plane.h"

#include <algorithm>

#include "runtime/exec/device_common.h"

namespace regroup {

using namespace device_detail;  // NOLINT: what a device carries out

Result<std::unique_ptr<NetDevicePlane>> NetDevicePlane::open(std::shared_ptr<DevicePort> port, tcp::LinkSet& links, NetStaging& staging, const View& view,
                                                             std::size_t self, NetPlane::Config config) {
  std::unique_ptr<NetDevicePlane> plane(new NetDevicePlane(std::move(port), view.members.size()));
  const auto scope = plane->port_->device().scope();
  Result<std::unique_ptr<NetPlane>> net = NetPlane::open(links, staging, view, self, std::move(config));
  if (!net) return net.error();
  plane->net_ = std::move(*net);
  plane->net_->use(plane->device_);
  return plane;
}

std::size_t NetDevicePlane::memory_for(const OpDesc& desc, const ViewInfo& view) {
  const std::optional<std::size_t> root = root_of(desc, view);
  if (!takes(desc) || view.size() < 2 || !root) return 0;
  algo::Plan plan;
  algo::make_plan({desc, view.size(), view.self, *root, nullptr, algo::spread_for(view.size(), false), nullptr}, plan);
  return NetDevice::memory_for(plan, view.self, view.size());
}

RunResult NetDevicePlane::run(ExecOp& op, ExecContext& context) {
  const auto scope = port_->device().scope();
  if (op_ != op.id || op.progress.stage == 0) phase_ = Phase::kNone;
  if (phase_ == Phase::kNone) {
    const bool direct = takes(op.desc) && members_ > 1 && members_ <= device::kMaxSources && net_->direct(op);
    if (direct) {
      const Stage::There there = op.stage ? op.stage->there() : Stage::There{};
      if (there.result != nullptr) op.stage->read_by(port_->stream(), false);
      if (RunResult r = net_->declare(op, context, number_, there); r.state != RunState::kPrepared) return r;
    }
    op_ = op.id;
    phase_ = direct ? Phase::kDeclared : Phase::kHere;
  }
  if (phase_ == Phase::kDeclared) {
    if (RunResult r = net_->await_where(context); r.state != RunState::kPrepared) return r;
    phase_ = net_->where() == NetPlane::Where::kThere ? Phase::kThere : Phase::kHere;
  }
  if (phase_ == Phase::kHere) return run_here(op, context);
  RunResult result = net_->run_there(context);
  if (result.state != RunState::kPrepared) return result;
  op.plan = "device";
  made_there_.push_back(op.id);
  return result;
}

RunResult NetDevicePlane::run_here(ExecOp& op, ExecContext& context) {
  std::optional<RunResult> lost_it;
  if (op.stage) {
    const auto here = [&] {
      const Result<bool> stands = op.stage->here();
      if (!stands) lost_it = lost(stands.error());
      return !stands || *stands;
    };
    const RunResult copied = net_->await(context, here, true);
    if (lost_it) return *lost_it;
    if (copied.state != RunState::kPrepared) return copied;
  }
  return net_->run(op, context);
}

RunResult NetDevicePlane::await_commit(OpId op, CommitCounter& counter, ExecContext& context) {
  const auto scope = port_->device().scope();
  return net_->await_commit(op, counter, context);
}

RunResult NetDevicePlane::exchange(std::span<PairMessage* const> messages, ExecContext& context) {
  const auto scope = port_->device().scope();
  return net_->exchange(messages, context);
}

bool NetDevicePlane::pump() {
  const auto scope = port_->device().scope();
  return net_->pump();
}

void NetDevicePlane::fence() {
  const auto scope = port_->device().scope();
  net_->fence();
}

void NetDevicePlane::copy_out(ExecOp& op) {
  if (std::find(made_there_.begin(), made_there_.end(), op.id) == made_there_.end()) return net_->copy_out(op);
  if (!port_->idle()) op.stage->read_by(port_->stream(), true);  // digests for one that a decision has evicted
  op.stage->made_there();
}

void NetDevicePlane::release(OpId op) {
  std::erase(made_there_, op);
  net_->release(op);
}

}  // namespace regroup

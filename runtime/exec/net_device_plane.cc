#include "runtime/exec/net_device_plane.h"

#include <algorithm>

#include "runtime/exec/device_common.h"

namespace regroup {

using namespace device_detail;  // NOLINT: what a device carries out

Result<std::unique_ptr<NetDevicePlane>> NetDevicePlane::open(std::shared_ptr<DevicePort> port, tcp::LinkSet& links, NetStaging& staging, const View& view,
                                                             std::size_t self, NetPlane::Config config) {
  std::unique_ptr<NetDevicePlane> plane(new NetDevicePlane(std::move(port), view.members.size()));
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
  if (Status s = port_->device().enter(); !s) return lost(s.error());  // UCX asks which device is the thread's
  if (op_ != op.id || op.progress.stage == 0) phase_ = Phase::kNone;
  if (phase_ == Phase::kNone) {
    const bool direct = takes(op.desc) && members_ > 1 && members_ <= device::kMaxSources && net_->direct(op);
    if (direct) {
      const bool there = op.stage && op.stage->there().result != nullptr;
      if (RunResult r = net_->declare(op, context, there ? number_ : 0); r.state != RunState::kPrepared) return r;
    }
    op_ = op.id;
    phase_ = direct ? Phase::kDeclared : Phase::kHere;
  }
  if (phase_ == Phase::kDeclared) {
    if (RunResult r = net_->await_declared(context, [] { return false; }); r.state != RunState::kPrepared) return r;
    phase_ = net_->all_ready(number_) ? Phase::kThere : Phase::kHere;
    if (phase_ == Phase::kThere) op.stage->read_by(port_->stream());
  }
  if (phase_ == Phase::kHere) return run_here(op, context);
  const Stage::There there = op.stage->there();
  RunResult result = net_->run_there(op, context, static_cast<const std::byte*>(there.in), there.result);
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

void NetDevicePlane::copy_out(ExecOp& op) {
  if (std::find(made_there_.begin(), made_there_.end(), op.id) != made_there_.end()) return op.stage->made_there();
  net_->copy_out(op);
}

void NetDevicePlane::release(OpId op) {
  std::erase(made_there_, op);
  net_->release(op);
}

}  // namespace regroup

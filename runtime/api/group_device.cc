// Buffers on a device: Options::device, and calls that are given memory of it.
#include "kernels/open_device.h"
#include "runtime/api/group_impl.h"

namespace regroup {
void GroupImpl::share(std::shared_ptr<device::Device> device) {
  if (device) stage_ = std::make_unique<DeviceStage>(std::move(device), [this] { engine_.wake(); });
}

Status GroupImpl::open_device() {
  if (options_.device.empty() || stage_) return {};
  Result<std::unique_ptr<device::Device>> device = device::open_device(options_.device);
  if (!device) return device.error();
  share(std::move(*device));
  return {};
}

Status GroupImpl::host_only(const void* in, const void* out, const OpOptions& options) const {
  if (options.stream == nullptr && !(stage_ && (stage_->holds(in) || stage_->holds(out)))) return {};
  return {Code::kUnsupported, "this call is not carried out on device buffers"};
}

Result<ExecOp> GroupImpl::make(calls::Uniform call, const OpOptions& options) {
  const calls::Site& site = submit_site();
  if (!stage_) {
    if (options.stream != nullptr) return {Code::kInvalid, "a stream, but no device: Options::device is not set"};
    return calls::make(site, call, options);
  }
  if (Status s = stage_->device()->health(); !s) return engine_.lose(s.error()), s.error();
  const Result<calls::Extent> bytes = calls::extent(site, call);
  if (!bytes) return bytes.error();
  const bool in = bytes->in != 0 && stage_->holds(call.in), out = bytes->out != 0 && stage_->holds(call.out);
  const bool idle = bytes->in == 0 && bytes->out == 0;  // a barrier
  if (!in && !out && (!idle || options.stream == nullptr)) {
    if (options.stream == nullptr) return calls::make(site, call, options);
    return {Code::kInvalid, std::string("a stream, but the buffers are not on ") + stage_->device()->name()};
  }
  if ((bytes->in != 0 && !in) || (bytes->out != 0 && !out))
    return {Code::kInvalid, std::string("the ") + (in ? "input" : "output") + " is on " + stage_->device()->name() + ", the " +
                                (in ? "output" : "input") + " is not"};
  if (options.cut_bytes != 0 && call.count * size_of(call.type) > options.cut_bytes)
    return {Code::kUnsupported, "cut_bytes: not with buffers on a device"};
  if (grouping_) return {Code::kUnsupported, "group_start: not with buffers on a device"};
  OpDesc desc;
  desc.kind = call.kind;
  // A caller that has not seen this view has buffers for another one. The op fails with kViewChanged, everywhere.
  const bool stale = desc.shape() && site.view->epoch != site.seen_epoch;
  Result<DeviceStage::Copies> copies = stale ? DeviceStage::doomed({}) : stage_->begin(call.in, bytes->in, call.out, bytes->out, options.stream);
  if (!copies) {
    if (copies.code() == Code::kSystem) engine_.lose(copies.error());  // else the others would wait for this op
    return copies.error();
  }
  call.in = bytes->in != 0 ? copies->in : copies->out;
  call.out = bytes->out != 0 ? copies->out : const_cast<void*>(copies->in);
  Result<ExecOp> op = calls::make(site, call, options);
  if (op) op->stage = std::move(copies->stage);
  return op;
}

}  // namespace regroup

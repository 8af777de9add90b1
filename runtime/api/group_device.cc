// Buffers on a device: Options::device, and calls that are given memory of it.
#include <type_traits>

#include "base/log.h"
#include "kernels/device/probe.h"
#include "kernels/open_device.h"
#include "runtime/api/group_impl.h"

namespace regroup {
void GroupImpl::share(std::shared_ptr<device::Device> device, bool stalls) {
  if (device) stage_ = std::make_unique<DeviceStage>(std::move(device), stalls, [this] { engine_.wake(); });
}

Status GroupImpl::open_device() {
  if (options_.device.empty() || stage_) return {};
  Result<std::unique_ptr<device::Device>> device = device::open_device(options_.device);
  if (!device) return device.error();
  const Result<bool> stalls = device::waits_stall(**device);
  if (!stalls) return stalls.error();
  if (*stalls) log::warn("device_stalls", "on " + options_.device + " a stream that waits holds up others: calls with a stream return when their op is over");
  share(std::move(*device), *stalls);
  return {};
}

// Not where committed results are kept for joiners (Options::apply): those are read on the host.
Status GroupImpl::take_seat() {
  if (!stage_ || !domain_ || !options_.device_plans || options_.apply) return {};
  DeviceRank::Config config;
  config.ctas = options_.device_ctas;
  Result<std::unique_ptr<DeviceSeat>> seat = DeviceSeat::make(stage_->device(), *domain_, config);
  if (!seat) return seat.error();
  seat_ = std::move(*seat);
  return {};
}

// For ops whose payloads lanes take from the device's memory.
Status GroupImpl::open_port() {
  const std::optional<tcp::Reach> reach = links_->reach();
  if (!stage_ || !reach || !options_.device_plans || options_.apply || options_.ucx_device == "never") return {};
  const bool direct = stage_->device()->host_reads() || *reach == tcp::Reach::kDirect;
  if (!direct && (options_.ucx_device != "always" || *reach == tcp::Reach::kNone)) return {};
  Result<std::shared_ptr<DevicePort>> port = DevicePort::make(stage_->device(), {options_.device_ctas});
  if (!port) return port.error();
  port_ = std::move(*port);
  return {};
}

// A hint: what begins there may go on here.
bool GroupImpl::may_run_there(const calls::Touched& use) const {
  if (seat_) return seat_->open.load(std::memory_order_relaxed);
  std::size_t bytes = 0;
  for (const auto* spans : {&use.in, &use.out})
    for (const algo::Span& span : *spans) bytes = std::max(bytes, span.bytes);
  return port_ && bytes > options_.small_bytes && !options_.no_commit;
}

namespace {

OpKind kind_of(const auto& call) { return call.kind; }
OpKind kind_of(const calls::Pair&) { return OpKind::kSendRecv; }

template <class Call>
constexpr bool kIsMessage = std::is_same_v<Call, calls::Message>;

// A caller that has not seen this view has buffers for another one. The op fails with kViewChanged, everywhere.
template <class Call>
bool stale(const calls::Site& site, const Call& call) {
  if constexpr (kIsMessage<Call>) return false;
  else return OpDesc{.kind = kind_of(call)}.shape() && site.view->epoch != site.seen_epoch;
}

template <class Call>
bool is_cut(const Call& call, const OpOptions& options) {
  if constexpr (!std::is_same_v<Call, calls::Uniform>) return false;
  else return options.cut_bytes != 0 && call.count * size_of(call.type) > options.cut_bytes;
}

}  // namespace

Status GroupImpl::hold(Stage& stage) {
  const Status held = stage.hold();
  if (!held) engine_.lose(held.error());
  return held;
}

// Where streams hold one another up: their part behind the ops is queued when these are over, or, when the bound of a wait has
// passed, as elsewhere.
void GroupImpl::finish(std::span<const OpPtr> ops) {
  for (const OpPtr& op : ops) {
    if (!op->exec.stage) continue;
    (void)engine_.wait(op, deadline(0)).ok();  // its caller asks again
    (void)hold(*op->exec.stage);  // an error ends the group object
  }
}

template <class Call>
Result<ExecOp> GroupImpl::make(Call call, const OpOptions& options) {
  const calls::Site& site = submit_site();
  if (!stage_) {
    if (options.stream != nullptr) return {Code::kInvalid, "a stream, but no device: Options::device is not set"};
    return calls::make(site, call, options);
  }
  if (Status s = stage_->device()->health(); !s) return engine_.lose(s.error()), s.error();
  bool in = stage_->holds(call.in), out = stage_->holds(call.out), idle = false;
  const bool old = stale(site, call);
  calls::Touched use;
  if (!old) {
    Result<calls::Touched> touched = calls::touched(site, call);
    if (!touched) return touched.error();
    use = std::move(*touched);
    in = in && !use.in.empty(), out = out && !use.out.empty();
    idle = use.in.empty() && use.out.empty();  // a barrier, or nothing to move
  }
  if (!in && !out && (!idle || options.stream == nullptr)) {
    if (options.stream == nullptr) return calls::make(site, call, options);
    return {Code::kInvalid, std::string("a stream, but the buffers are not on ") + stage_->device()->name()};
  }
  if ((!use.in.empty() && !in) || (!use.out.empty() && !out))
    return {Code::kInvalid, std::string("the ") + (in ? "input" : "output") + " is on " + stage_->device()->name() + ", the " +
                                (in ? "output" : "input") + " is not"};
  if (kIsMessage<Call> && stage_->stalls() && !grouping_)
    return {Code::kUnsupported, std::string("a message on a stream of ") + stage_->device()->name() + ", where streams hold one another up: only in a group"};
  if (is_cut(call, options)) return {Code::kUnsupported, "cut_bytes: not with buffers on a device"};
  const bool there = !kIsMessage<Call> && may_run_there(use);
  const auto begin = [&](bool on_device) { return stage_->begin(call.in, use.in, call.out, use.out, options.stream, on_device); };
  Result<DeviceStage::Copies> copies = old ? DeviceStage::doomed({}) : begin(there);
  if (there && copies.code() == Code::kNoMemory) copies = begin(false);  // for a result there; copies of the host's may do
  // A collective has its number at every member, and must fail at all.
  if (copies.code() == Code::kNoMemory && !kIsMessage<Call>) copies = DeviceStage::doomed(copies.error());
  if (!copies) {
    if (copies.code() == Code::kSystem) engine_.lose(copies.error());  // else the others would wait for this op
    return copies.error();
  }
  call.in = !use.in.empty() ? copies->in : copies->out;
  call.out = !use.out.empty() ? copies->out : const_cast<void*>(copies->in);
  Result<ExecOp> op = calls::make(site, call, options);
  // Before the stream waits for the op: making room may wait for the stream.
  if (op && there && seat_) seat_->expect(op->desc, *site.view);
  if (op && there && port_) (void)port_->take(NetDevicePlane::memory_for(op->desc, *site.view)).ok();  // and back: it is there then
  if (!op || (!grouping_ && !stage_->stalls()))
    if (Status s = hold(*copies->stage); !s) return s.error();
  if (op) op->stage = std::move(copies->stage);
  return op;
}

template Result<ExecOp> GroupImpl::make(calls::Uniform, const OpOptions&);
template Result<ExecOp> GroupImpl::make(calls::Agreed, const OpOptions&);
template Result<ExecOp> GroupImpl::make(calls::Told, const OpOptions&);
template Result<ExecOp> GroupImpl::make(calls::Pair, const OpOptions&);
template Result<ExecOp> GroupImpl::make(calls::Message, const OpOptions&);

}  // namespace regroup

#include "runtime/exec/nccl_plane.h"

#include <sched.h>

#include <chrono>
#include <thread>
#include <utility>

#include "kernels/kernels.h"
#include "kernels/lists.h"

namespace regroup {
namespace {

constexpr int kSpins = 200;  // looks at a running collective before the thread sleeps between them
constexpr auto kNap = std::chrono::microseconds(50);
constexpr Duration kAsk = Duration::from_ms(1);  // how often NCCL is asked for errors, and the host for deaths

int type_of(DataType type) {
  constexpr int kTypes[kDataTypeCount] = {nccl::kFloat64, nccl::kFloat32, nccl::kFloat16, nccl::kBfloat16,
                                          nccl::kInt8,    nccl::kUint8,   nccl::kInt32,   nccl::kUint32,
                                          nccl::kInt64,   nccl::kUint64};
  return kTypes[static_cast<std::size_t>(type)];
}

int operation_of(ReduceOp op) {  // an average is a sum that is divided at its end
  constexpr int kOperations[kReduceOpCount] = {nccl::kSum, nccl::kSum, nccl::kProd, nccl::kMin, nccl::kMax};
  return kOperations[static_cast<std::size_t>(op)];
}

nccl::Collective collective_of(OpKind kind) {
  switch (kind) {
    case OpKind::kReduceScatter: return nccl::Collective::kReduceScatter;
    case OpKind::kAllGather: return nccl::Collective::kAllGather;
    case OpKind::kBroadcast: return nccl::Collective::kBroadcast;
    default: return nccl::Collective::kAllReduce;
  }
}

}  // namespace

Result<std::unique_ptr<NcclPlane>> NcclPlane::open(NcclKeeper& keeper, tcp::LinkSet& links, NetStaging& staging,
                                                   const View& view, std::size_t self, NetPlane::Config config) {
  std::unique_ptr<NcclPlane> plane(new NcclPlane(keeper, view, self, config.rules));
  NcclPlane* p = plane.get();
  config.elsewhere = [p](const OpDesc& desc) { return p->takes(desc); };
  Result<std::unique_ptr<NetPlane>> net = NetPlane::open(links, staging, view, self, std::move(config));
  if (!net) return net.error();
  plane->net_ = std::move(*net);
  plane->net_->on_letter([p](std::size_t from, std::span<const std::byte> letter) { p->keeper_.heard(from, letter); });
  keeper.enter(view, self);
  return plane;
}

NcclPlane::NcclPlane(NcclKeeper& keeper, const View& view, std::size_t self, algo::Rules rules)
    : keeper_(keeper), epoch_(view.epoch), self_(self), members_(view.members.size()), rules_(std::move(rules)) {}

// The same at every member.
bool NcclPlane::takes(const OpDesc& desc) const {
  const bool known = desc.kind == OpKind::kAllReduce || desc.kind == OpKind::kAllGather ||
                     desc.kind == OpKind::kReduceScatter || desc.kind == OpKind::kBroadcast;
  return known && members_ > 1 && desc.bytes() > rules_.small_bytes && !(rules_.canonical && desc.reduces());
}

void NcclPlane::turn() {
  keeper_.step();
  for (NcclKeeper::Outgoing& letter : keeper_.take_letters()) net_->tell(letter.to, std::move(letter.letter));
}

RunResult NcclPlane::broken(const std::string& why) {
  keeper_.failed(why);
  RunResult result(RunState::kBroken);
  result.other = self_;
  result.detail = "NCCL: " + why;
  return result;
}

RunResult NcclPlane::run(ExecOp& op, ExecContext& context) {
  turn();
  if (keeper_.lost()) {
    RunResult result(RunState::kLost);
    result.detail = "NCCL: an abort did not return within its bound; its device may go on writing";
    return result;
  }
  if (!takes(op.desc)) return net_->run(op, context);
  if (op_ != op.id || op.progress.stage == 0) phase_ = Phase::kNone;
  if (phase_ == Phase::kNone) {
    said_ = keeper_.ready();
    const std::size_t in = op.desc.bytes() * (op.desc.kind == OpKind::kReduceScatter ? members_ : 1);
    const std::size_t out = op.desc.bytes() * (op.desc.kind == OpKind::kAllGather ? members_ : 1);
    if (said_ != 0 && !keeper_.made().room->reserve(in, out)) said_ = 0;
    if (RunResult r = net_->declare(op, context, said_); r.state != RunState::kPrepared) return r;
    op_ = op.id;
    phase_ = Phase::kDeclared;
  }
  if (phase_ == Phase::kDeclared) {
    if (RunResult r = net_->await_declared(context, [this] { return turn(), keeper_.lost(); });
        r.state != RunState::kPrepared)
      return r;
    if (!net_->all_ready(said_)) {
      phase_ = Phase::kLinks;
    } else {
      if (keeper_.ready() != said_) return broken("its communicator went before it was used");
      launch(op);
      phase_ = Phase::kRunning;
    }
  }
  if (phase_ == Phase::kLinks) return net_->run(op, context);
  return watch(op, context);
}

void NcclPlane::launch(const ExecOp& op) {
  NcclKeeper::Made& made = keeper_.made();
  made.used = true;
  const OpDesc& desc = op.desc;
  const bool root = desc.kind == OpKind::kBroadcast && op.root_index == self_;
  std::size_t in = desc.bytes() * (desc.kind == OpKind::kReduceScatter ? members_ : 1);
  std::size_t out = desc.bytes() * (desc.kind == OpKind::kAllGather ? members_ : 1);
  if (desc.kind == OpKind::kBroadcast) (root ? out : in) = 0;  // the root has it; nobody else gives anything
  if (desc.scaled())
    kernels::scale(desc.type, made.room->in().here, op.in, op.scalar.data(), in / size_of(desc.type));
  else
    kernels::copy(made.room->in().here, op.in, in);
  nccl::Job job;
  job.what = collective_of(desc.kind);
  job.in = made.room->in().there;
  job.out = made.room->out().there;
  job.count = desc.count;
  job.type = type_of(desc.type);
  job.op = operation_of(desc.reduce);
  job.root = static_cast<int>(op.root_index);
  job.stream = made.room->stream().native();
  made.room->begin();
  made.comm->run(
      job, [room = made.room, in] { return room->before(in); }, [room = made.room, out] { return room->after(out); });
  out_ = net_->give_away();
  ends_by_ = now() + keeper_.config().limit;
}

// Until the collective has ended. The links are served meanwhile; no memory of the caller's is looked at any more.
RunResult NcclPlane::watch(ExecOp& op, ExecContext& context) {
  NcclKeeper::Made& made = keeper_.made();
  Instant asked = now();
  bool reached = false,
       asked_since = false;  // after an error nothing is to be believed, so NCCL is asked once more at the end
  for (int turns = 0;; ++turns) {
    if (context.should_stop()) return RunState::kStopped;
    const nccl::Communicator::Step step = made.comm->queued();
    if (step == nccl::Communicator::Step::kFailed) return broken(made.comm->trouble());
    reached = reached || (step == nccl::Communicator::Step::kDone && made.room->done());
    if (reached && !made.comm->checking()) {
      if (made.comm->state() == nccl::Communicator::State::kFailed) return broken(made.comm->trouble());
      if (std::exchange(asked_since, true)) break;
      made.comm->check();
    }
    if (auto found = net_->serve()) return *found;
    if (turns < kSpins)
      ::sched_yield();
    else
      std::this_thread::sleep_for(kNap);
    const Instant at = now();
    if (at >= context.deadline) return RunState::kStopped;
    if (at >= ends_by_) return broken("a collective of op " + std::to_string(op.id) + " did not end within its bound");
    if (at - asked < kAsk) continue;
    asked = at;
    made.comm->check();
    if (made.comm->state() == nccl::Communicator::State::kFailed) return broken(made.comm->trouble());
    if (const Status health = made.room->device().health(); !health) return broken(health.error().detail);
    context.check_peers();
  }
  context.failpoints->hit(Point::kAfterPlaced);
  if (context.should_stop()) return RunState::kStopped;
  finish(op);
  return RunState::kPrepared;
}

void NcclPlane::finish(ExecOp& op) {
  const OpDesc& desc = op.desc;
  const NcclRoom& room = *keeper_.made().room;
  const bool root = desc.kind == OpKind::kBroadcast && op.root_index == self_;
  const std::byte* from = root ? room.in().here : room.out().here;
  const std::size_t bytes = desc.bytes() * (desc.kind == OpKind::kAllGather ? members_ : 1);
  std::uint64_t digest =
      out_.size() == bytes ? kernels::copy_digest(out_.data(), from, bytes) : kernels::digest(from, bytes);
  if (desc.reduces() && desc.reduce == ReduceOp::kAvg)
    kernels::divide(desc.type, out_.data(), static_cast<std::uint32_t>(members_), bytes / size_of(desc.type));
  op.plan = "nccl";
  phase_ = Phase::kNone;
  op_ = 0;
  if (desc.kind == OpKind::kReduceScatter) return;  // each member's own
  digest += digest == 0;                            // 0 says that there is none
  op.progress.digest = digest;
  net_->show_digest(op.id, digest);
}

RunResult NcclPlane::await_commit(OpId op, CommitCounter& counter, ExecContext& context) {
  RunResult result = net_->await_commit(op, counter, context);
  if (counter.differs()) keeper_.stop("members have other bits of an op");
  return result;
}

bool NcclPlane::pump() {
  turn();
  const bool more = net_->pump();
  return keeper_.busy() || more;
}

void NcclPlane::fence() {
  net_->fence();
  keeper_.leave(epoch_);
}

}  // namespace regroup

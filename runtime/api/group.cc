// The public face: argument checks, descriptors, and nothing else.
#include "regroup/group.h"

#include "base/clock.h"
#include "runtime/api/calls.h"
#include "runtime/api/group_impl.h"
#include "runtime/api/split.h"

namespace regroup {
Result<Outcome> Work::wait(double timeout_s) {
  if (!group_) return {Code::kInvalid, "an empty Work"};
  return group_->wait(op_, timeout_s);
}
bool Work::done() const {
  if (!op_) return false;
  for (const OpPtr& piece : op_->pieces)
    if (piece->done.load(std::memory_order_acquire) == 0) return false;
  return !op_->pieces.empty() || op_->done.load(std::memory_order_acquire) != 0;
}
OpId Work::op() const {
  if (!op_) return 0;
  return op_->pieces.empty() ? op_->exec.id : op_->pieces.back()->exec.id;
}
void Work::cancel() {
  if (!op_ || done()) return;
  if (op_->exec.message) return group_->engine().cancel_message(op_);
  if (op_->pieces.empty()) return group_->cancel(op_->exec.id);
  for (const OpPtr& piece : op_->pieces)
    if (piece->done.load(std::memory_order_acquire) == 0) group_->cancel(piece->exec.id);
}

Result<std::unique_ptr<Group>> Group::join(Options options) {
  auto impl = std::make_shared<GroupImpl>(std::move(options));
  if (Status s = impl->start(); !s) {
    impl->close(true);
    return s.error();
  }
  return std::unique_ptr<Group>(new Group(std::move(impl)));
}

Group::~Group() { impl_->close(true); }

// Every collective is an op; blocking calls drive it on this thread, asynchronous ones leave a Work.
#define REGROUP_COLLECTIVE(name, params, ...)                                                                          \
  Result<Outcome> Group::name params { return impl_->run(impl_->make(__VA_ARGS__, options), options); } \
  Work Group::name##_async params {                                                                                    \
    return Work(impl_, impl_->start(impl_->make(__VA_ARGS__, options), options));                                \
  }

REGROUP_COLLECTIVE(all_reduce,
                   (const void* in, void* out, std::size_t count, DataType type, ReduceOp op, const OpOptions& options),
                   (calls::Uniform{OpKind::kAllReduce, in, out, count, type, op}))
REGROUP_COLLECTIVE(reduce,
                   (const void* in, void* out, std::size_t count, DataType type, ReduceOp op, MemberId root,
                    const OpOptions& options),
                   (calls::Uniform{OpKind::kReduce, in, out, count, type, op, root}))
REGROUP_COLLECTIVE(broadcast, (void* buffer, std::size_t count, DataType type, MemberId root, const OpOptions& options),
                   (calls::Uniform{OpKind::kBroadcast, buffer, buffer, count, type, {}, root}))
REGROUP_COLLECTIVE(all_gather, (const void* in, void* out, std::size_t count, DataType type, const OpOptions& options),
                   (calls::Uniform{OpKind::kAllGather, in, out, count, type}))
REGROUP_COLLECTIVE(reduce_scatter,
                   (const void* in, void* out, std::size_t count, DataType type, ReduceOp op, const OpOptions& options),
                   (calls::Uniform{OpKind::kReduceScatter, in, out, count, type, op}))
REGROUP_COLLECTIVE(all_to_all, (const void* in, void* out, std::size_t count, DataType type, const OpOptions& options),
                   (calls::Uniform{OpKind::kAllToAll, in, out, count, type}))
REGROUP_COLLECTIVE(gather,
                   (const void* in, void* out, std::size_t count, DataType type, MemberId root,
                    const OpOptions& options),
                   (calls::Uniform{OpKind::kGather, in, out, count, type, {}, root}))
REGROUP_COLLECTIVE(scatter,
                   (const void* in, void* out, std::size_t count, DataType type, MemberId root,
                    const OpOptions& options),
                   (calls::Uniform{OpKind::kScatter, in, out, count, type, {}, root}))
REGROUP_COLLECTIVE(all_gather_v,
                   (const void* in, void* out, std::span<const std::size_t> counts, DataType type,
                    const OpOptions& options),
                   (calls::Agreed{OpKind::kAllGatherV, in, out, counts, type}))
REGROUP_COLLECTIVE(reduce_scatter_v,
                   (const void* in, void* out, std::span<const std::size_t> counts, DataType type, ReduceOp op,
                    const OpOptions& options),
                   (calls::Agreed{OpKind::kReduceScatterV, in, out, counts, type, op}))
REGROUP_COLLECTIVE(all_to_all_v,
                   (const void* in, std::span<const std::size_t> in_counts, std::span<const std::size_t> in_at,
                    void* out, std::span<const std::size_t> out_counts, std::span<const std::size_t> out_at,
                    DataType type, const OpOptions& options),
                   (calls::Told{OpKind::kAllToAllV, in, {in_counts, in_at}, out, {out_counts, out_at}, type}))
REGROUP_COLLECTIVE(gather_v,
                   (const void* in, std::size_t count, void* out, std::span<const std::size_t> counts,
                    std::span<const std::size_t> at, DataType type, MemberId root, const OpOptions& options),
                   (calls::Told{OpKind::kGatherV, in, {{&count, 1}, {}}, out, {counts, at}, type, root}))
REGROUP_COLLECTIVE(scatter_v,
                   (const void* in, std::span<const std::size_t> counts, std::span<const std::size_t> at, void* out,
                    std::size_t count, DataType type, MemberId root, const OpOptions& options),
                   (calls::Told{OpKind::kScatterV, in, {counts, at}, out, {{&count, 1}, {}}, type, root}))
REGROUP_COLLECTIVE(send_recv,
                   (const void* in, std::size_t in_count, MemberId to, void* out, std::size_t out_count, MemberId from,
                    DataType type, const OpOptions& options),
                   (calls::Pair{in, in_count, to, out, out_count, from, type}))
REGROUP_COLLECTIVE(send, (const void* in, std::size_t count, DataType type, MemberId to, const OpOptions& options),
                   (calls::Message{true, in, nullptr, count, type, to}))
REGROUP_COLLECTIVE(recv, (void* out, std::size_t count, DataType type, MemberId from, const OpOptions& options),
                   (calls::Message{false, nullptr, out, count, type, from}))
#undef REGROUP_COLLECTIVE

namespace {
constexpr calls::Uniform kBarrierCall{OpKind::kBarrier, nullptr, nullptr, 0, DataType::kU8};
}
Result<Outcome> Group::barrier(const OpOptions& options) {
  return impl_->run(impl_->make(kBarrierCall, options), options);
}
Work Group::barrier_async(const OpOptions& options) {
  return Work(impl_, impl_->start(impl_->make(kBarrierCall, options), options));
}

Result<std::unique_ptr<Group>> Group::split(int color, int key, const std::function<void(Options&)>& configure) {
  Result<std::shared_ptr<GroupImpl>> child = split_group(*impl_, color, key, configure);
  if (!child) return child.error();
  return std::unique_ptr<Group>(*child ? new Group(std::move(*child)) : nullptr);
}
const std::vector<MemberId>& Group::parent_ids() const { return impl_->parent_ids(); }

Status Group::group_start() { return impl_->group_start(); }
Status Group::group_end() { return impl_->group_end(); }

Result<void*> Group::allocate(std::size_t bytes) { return impl_->allocate(bytes); }
Status Group::deallocate(void* memory) { return impl_->deallocate(memory); }
Status Group::begin_update(std::span<const StateRange> ranges) { return impl_->begin_update(ranges); }
Status Group::end_update() { return impl_->end_update(); }
CatchUp Group::caught_up() const { return impl_->caught_up(); }
Checkpoints Group::checkpoints() const { return impl_->checkpoints(); }
std::vector<std::uint64_t> Group::state_digests() const {
  std::vector<std::uint64_t> digests;
  for (const StateBuffer& b : impl_->options().state)
    digests.push_back(state::digest_of({static_cast<const std::byte*>(b.data), b.bytes}));
  return digests;
}
Status Group::leave(double timeout_s) { return impl_->leave(impl_->deadline(timeout_s)); }
ViewInfo Group::view() const { return impl_->view(); }
MemberId Group::id() const { return {static_cast<std::uint32_t>(impl_->options().rank), 0}; }
std::uint64_t Group::steps() const { return impl_->engine().snapshot().steps; }
double Group::last_restore_s() const { return impl_->last_restore_s(); }
std::shared_ptr<device::Device> Group::device() const { return impl_->device(); }
const Options& Group::options() const { return impl_->options(); }
std::string Group::flight_record() const { return impl_->recorder().dump(); }
void Group::detach() { impl_->close(true); }

}  // namespace regroup

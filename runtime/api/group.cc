// The public face: argument checks, descriptors, and nothing else.
#include "regroup/group.h"

#include "base/clock.h"
#include "runtime/api/group_impl.h"

namespace regroup {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 40;

Status check(const void* in, const void* out, std::size_t count, DataType type) {
  if (static_cast<int>(type) >= kDataTypeCount) return {Code::kInvalid, "unknown data type"};
  if (count > kMaxBytes / size_of(type)) return {Code::kInvalid, "count " + std::to_string(count) + " is over the bound"};
  if (count != 0 && (in == nullptr || out == nullptr)) return {Code::kInvalid, "buffer is null"};
  return {};
}

Status check(const void* in, const void* out, std::size_t count, DataType type, ReduceOp op) {
  if (static_cast<int>(op) >= kReduceOpCount) return {Code::kInvalid, "unknown reduction"};
  return check(in, out, count, type);
}

OpPtr failed(Error error) {
  auto op = std::make_shared<OpState>();
  op->result = std::move(error);
  op->done.store(1);
  return op;
}

}  // namespace

Result<Outcome> Work::wait(double timeout_s) {
  if (!group_) return {Code::kInvalid, "an empty Work"};
  return group_->seen(group_->engine().wait(op_, group_->deadline(timeout_s)));
}
bool Work::done() const { return op_ && op_->done.load(std::memory_order_acquire) != 0; }
OpId Work::op() const { return op_ ? op_->exec.id : 0; }
void Work::cancel() {
  if (op_ && !done()) group_->cancel(op_->exec.id);
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

// Every collective is a descriptor; blocking calls drive it on this thread, asynchronous ones leave a Work.
#define REGROUP_COLLECTIVE(name, params, checked, in_pointer, out_pointer, kind, more)                       \
  Result<Outcome> Group::name params {                                                                          \
    if (Status s = (checked); !s) return s.error();                           \
    OpDesc desc = impl_->describe(kind, count, type, options);                                                  \
    more;                                                                                                       \
    return impl_->seen(impl_->engine().execute(desc, in_pointer, out_pointer, impl_->deadline(options.timeout_s))); \
  }                                                                                                             \
  Work Group::name##_async params {                                                                             \
    if (Status s = (checked); !s) return Work(impl_, failed(s.error()));      \
    OpDesc desc = impl_->describe(kind, count, type, options);                                                  \
    more;                                                                                                       \
    return Work(impl_, impl_->engine().submit(desc, in_pointer, out_pointer));                                  \
  }

REGROUP_COLLECTIVE(all_reduce,
                   (const void* in, void* out, std::size_t count, DataType type, ReduceOp op, const OpOptions& options),
                   check(in, out, count, type, op), in, out, OpKind::kAllReduce, desc.reduce = op)
REGROUP_COLLECTIVE(broadcast, (void* buffer, std::size_t count, DataType type, MemberId root, const OpOptions& options),
                   check(buffer, buffer, count, type), buffer, buffer, OpKind::kBroadcast, desc.root = root.replica)
REGROUP_COLLECTIVE(all_gather, (const void* in, void* out, std::size_t count, DataType type, const OpOptions& options),
                   check(in, out, count, type), in, out, OpKind::kAllGather, )
#undef REGROUP_COLLECTIVE

Result<Outcome> Group::barrier(const OpOptions& options) {
  const OpDesc desc = impl_->describe(OpKind::kBarrier, 0, DataType::kU8, options);
  return impl_->seen(impl_->engine().execute(desc, nullptr, nullptr, impl_->deadline(options.timeout_s)));
}
Work Group::barrier_async(const OpOptions& options) {
  return Work(impl_, impl_->engine().submit(impl_->describe(OpKind::kBarrier, 0, DataType::kU8, options), nullptr, nullptr));
}

Result<void*> Group::allocate(std::size_t bytes) { return impl_->allocate(bytes); }
Status Group::deallocate(void* memory) { return impl_->deallocate(memory); }
Status Group::leave(double timeout_s) { return impl_->leave(impl_->deadline(timeout_s)); }
ViewInfo Group::view() const { return impl_->view(); }
MemberId Group::id() const { return {static_cast<std::uint32_t>(impl_->options().rank), 0}; }
std::uint64_t Group::steps() const { return impl_->engine().snapshot().steps; }
double Group::last_restore_s() const { return impl_->last_restore_s(); }
const Options& Group::options() const { return impl_->options(); }
std::string Group::flight_record() const { return impl_->recorder().dump(); }
void Group::detach() { impl_->close(true); }

}  // namespace regroup

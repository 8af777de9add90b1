// What the backend does for Elastic: averages whose ops are known by number, the end of a step, updates of the state.
#include "python/adapter/tensors.h"

namespace regroup::python {

using c10d::OpType;

WorkPtr RegroupBackend::average(at::Tensor& bucket) {
  check_tensor(bucket, "average");
  Tensors tensors{bucket};
  const Work_ work = make(OpType::ALLREDUCE, "regroup:all_reduce", tensors, tensors, Millis(0), true);
  add_all_reduce(work, bucket, RedOp(RedOp::AVG), -1);
  std::lock_guard lock(averages_mutex_);
  averages_.push_back(work->ops.back());
  return work;
}

std::vector<OpId> RegroupBackend::averaged() {
  std::lock_guard lock(averages_mutex_);
  std::vector<OpId> numbers;
  for (const StreamOpPtr& op : std::exchange(averages_, {})) {
    TORCH_CHECK(op->done && op->status.ok(), "regroup: an average of gradients has not ended well");
    numbers.push_back(op->work.op());
  }
  return numbers;
}

void RegroupBackend::end_step(at::Tensor& bytes) {
  check_tensor(bytes, "end_step");
  const Work_ work = make(OpType::ALLREDUCE, "regroup:end_step", {bytes}, {bytes}, Millis(0), false);
  auto o = std::make_shared<StreamOp>();
  o->how.mark = true;
  o->submit = [bytes](Group& g, const ViewInfo&, const OpOptions& how) {
    return g.all_reduce_async(bytes.data_ptr(), bytes.data_ptr(), bytes.nbytes(), DataType::kU8, ReduceOp::kMax, how);
  };
  add(work, std::move(o));
  work->wait();
}

void RegroupBackend::begin_update() {
  check_open();
  const Status status = stream_->group().begin_update();
  TORCH_CHECK(status.ok(), "regroup: ", status.error().detail);
}

void RegroupBackend::end_update() {
  check_open();
  const Status status = stream_->group().end_update();
  TORCH_CHECK(status.ok(), "regroup: ", status.error().detail);
}

CatchUp RegroupBackend::caught_up() const {
  check_open();
  return stream_->group().caught_up();
}

OpId RegroupBackend::last_op() const {
  check_open();
  return stream_->last_op();
}

}  // namespace regroup::python

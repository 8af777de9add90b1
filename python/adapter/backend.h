// RegroupBackend: a c10d::Backend on regroup groups. Tensors in, ops of the public API out; order and repeats are
// Stream's, send and recv are Messages'. Three files include torch: backend.h, backend.cc and module.cc;
// the calls are in reduce.cc, gather.cc and exchange.cc, what they know of tensors in tensors.h.
//
// Ranks are replica ids and keep their numbers. A rank that is lost contributes nothing: reductions go on without it,
// its blocks of gathering ops are zero, and what needs it raises: a root, a message, shards (all_gather_into_tensor,
// reduce_scatter_tensor), and everything with the option `lost_ranks=error`. Arguments are checked
// before anything is sent. Threading: as c10d says; calls come without the GIL. After a failure: getError() says what;
// only kClosed and kUnavailable end the object.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <vector>

#include "python/adapter/messages.h"
#include "python/adapter/stream.h"

namespace regroup::python {

using Tensors = std::vector<at::Tensor>;
using Millis = std::chrono::milliseconds;
using After = std::function<void()>;  // what is left to do when an op has committed
using WorkPtr = c10::intrusive_ptr<c10d::Work>;

// Called between slices of a wait; throws when a signal came (Ctrl-C). Set by the module.
extern void (*check_interrupt)();

struct BackendConfig {
  std::string coordinator;                     // host:port
  std::string group;                           // name; messages take "NAME/messages" below the root's name
  std::string root;                            // name of the coordinator's own group
  std::map<std::string, std::string> options;  // of the core, by name
  bool fixed_divisor = false;    // sums of floats are scaled by size / contributors: right for who divides by the size
  bool error_when_lost = false;  // every op raises while a rank is lost
  bool deferred = false;         // joins when join_now() is called; then marks are explicit
  bool stand_in_root = false;    // a broadcast whose root is lost is made by the lowest rank that lives
};

// With it a rank that comes back catches up while the others go on (Options::apply).
struct Replay {
  std::vector<StateBuffer> state;
  std::vector<StateBlob> blobs;
  ApplyFunction apply;
};

// Ops and messages of one call of c10d, and its future.
class RegroupWork final : public c10d::Work {
 public:
  RegroupWork(int rank, c10d::OpType type, const char* title, const Tensors& inputs, Tensors outputs, Millis timeout,
              std::uint64_t sequence);
  ~RegroupWork() override;
  bool isCompleted() override;
  bool isSuccess() const override;
  bool wait(Millis timeout = kNoTimeout) override;
  void abort() override;
  int sourceRank() const override;
  std::vector<at::Tensor> result() override { return outputs_; }
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override;
  uint64_t getSequencenumber() const override { return sequence_; }

  // Before it is handed out.
  std::shared_ptr<Stream> stream;
  std::shared_ptr<Messages> messages;
  std::vector<StreamOpPtr> ops;
  std::vector<MessagePtr> parts;
  bool wait_follows = false;  // its caller waits next

 private:
  bool run(Time until);  // true: all are over
  void settle();         // all are over: once
  void complete_future();
  Tensors outputs_;
  const Time deadline_;
  const std::uint64_t sequence_;
  std::atomic<bool> settled_{false};
  std::mutex future_mutex_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;
};

class RegroupBackend final : public c10d::Backend {
 public:
  RegroupBackend(int rank, int size, Millis timeout, BackendConfig config);
  ~RegroupBackend() override;

  const std::string getBackendName() const override { return "regroup"; }
  c10::intrusive_ptr<Options> getBackendOptions() override { return options_; }
  void setTimeout(Millis timeout) override { options_->timeout = timeout; }
  void setSequenceNumberForGroup() override {}
  uint64_t getSequenceNumberForGroup() override { return sequence_; }
  c10d::ErrorType getError() override;
  void abort() override;
  void shutdown() override;
  bool supportsSplitting() const override { return true; }
  bool supportsCoalescing() const override { return true; }
  void startCoalescing() override;
  WorkPtr endCoalescing() override;
  c10::intrusive_ptr<c10d::Backend> split(const c10::intrusive_ptr<c10d::Store>& store, const std::vector<int>& ranks,
                                          const c10::intrusive_ptr<Options>& opts) override;

  WorkPtr broadcast(Tensors&, const c10d::BroadcastOptions&) override;
  WorkPtr allreduce(Tensors&, const c10d::AllreduceOptions&) override;
  WorkPtr allreduce_coalesced(Tensors&, const c10d::AllreduceCoalescedOptions&) override;
  WorkPtr reduce(Tensors&, const c10d::ReduceOptions&) override;
  WorkPtr allgather(std::vector<Tensors>&, Tensors&, const c10d::AllgatherOptions&) override;
  WorkPtr _allgather_base(at::Tensor&, at::Tensor&, const c10d::AllgatherOptions&) override;
  WorkPtr allgather_coalesced(std::vector<Tensors>&, Tensors&, const c10d::AllgatherOptions&) override;
  WorkPtr allgather_into_tensor_coalesced(Tensors&, Tensors&, const c10d::AllgatherOptions&) override;
  WorkPtr gather(std::vector<Tensors>&, Tensors&, const c10d::GatherOptions&) override;
  WorkPtr scatter(Tensors&, std::vector<Tensors>&, const c10d::ScatterOptions&) override;
  WorkPtr reduce_scatter(Tensors&, std::vector<Tensors>&, const c10d::ReduceScatterOptions&) override;
  WorkPtr _reduce_scatter_base(at::Tensor&, at::Tensor&, const c10d::ReduceScatterOptions&) override;
  WorkPtr reduce_scatter_tensor_coalesced(Tensors&, Tensors&, const c10d::ReduceScatterOptions&) override;
  WorkPtr alltoall_base(at::Tensor&, at::Tensor&, std::vector<int64_t>&, std::vector<int64_t>&,
                        const c10d::AllToAllOptions&) override;
  WorkPtr alltoall(Tensors&, Tensors&, const c10d::AllToAllOptions&) override;
  WorkPtr send(Tensors&, int rank, int tag) override;
  WorkPtr recv(Tensors&, int rank, int tag) override;
  WorkPtr recvAnysource(Tensors&, int tag) override;
  WorkPtr barrier(const c10d::BarrierOptions&) override;
  void mark();  // a step ends here: a barrier that is a mark (Options::explicit_marks)
  void monitoredBarrier(const c10d::BarrierOptions&, bool wait_all_ranks) override;

  // Of Elastic. Joins, with config.deferred.
  void join_now(const Replay* replay);
  // Averages a bucket, like an all_reduce; the numbers of the ops since the last call.
  WorkPtr average(at::Tensor& bucket);
  std::vector<OpId> averaged();
  // The same bytes of everybody, as the op that ends a step: an all_reduce (largest), and a mark.
  void end_step(at::Tensor& bytes);
  void begin_update();
  void end_update();
  [[nodiscard]] CatchUp caught_up() const;
  [[nodiscard]] OpId last_op() const;

  [[nodiscard]] std::vector<int> contributors() const {
    check_open();
    return stream_->contributors();
  }
  [[nodiscard]] std::vector<int> members();  // ranks of the view as it is now
  [[nodiscard]] std::uint64_t epoch();
  [[nodiscard]] bool explicit_marks() const { return config_.deferred || stream_->group().options().explicit_marks; }
  [[nodiscard]] const BackendConfig& config() const { return config_; }
  at::Tensor allocateTensor(long size, at::TensorOptions options) override;
  bool supportsTensorAlloc(c10::DeviceIndex index) override { return stream_ != nullptr && index < 0; }  // of host memory

 private:
  using Work_ = c10::intrusive_ptr<RegroupWork>;
  std::unique_ptr<Group> join(const std::string& name, const Replay* replay) const;
  void open(const Replay* replay);
  void check_open() const;
  Millis bound(Millis timeout) const { return timeout.count() > 0 ? timeout : options_->timeout; }
  Work_ make(c10d::OpType type, const char* title, const Tensors& inputs, Tensors outputs, Millis timeout, bool async);
  void add(const Work_& work, std::shared_ptr<StreamOp> op);
  void add_all_reduce(const Work_& work, const at::Tensor& tensor, const c10d::ReduceOp& op, int root,
                      After after = {});
  void add_folded(const Work_& work, const at::Tensor& tensor, const c10d::ReduceOp& op, int root, After after = {});
  // whole: fails where a rank is lost.
  void add_all_gather(const Work_& work, at::Tensor out, const at::Tensor& in, bool whole, After after = {});
  void add_reduce_scatter(const Work_& work, at::Tensor out, at::Tensor in, const c10d::ReduceOp& op, bool whole);
  WorkPtr add_all_to_all(const Work_& work, at::Tensor out, at::Tensor in, const std::vector<int64_t>& out_splits,
                         const std::vector<int64_t>& in_splits, After after);
  WorkPtr message(Tensors& tensors, int rank, int tag, bool send);
  void check_rank(int rank, const char* what) const;

  c10::intrusive_ptr<Options> options_;
  BackendConfig config_;
  std::shared_ptr<Stream> stream_;
  std::shared_ptr<Messages> messages_;
  std::atomic<std::uint64_t> sequence_{0};
  std::uint64_t barriers_ = 0;
  std::atomic<bool> closed_{false};
  Work_ coalescing_;
  std::mutex averages_mutex_;
  std::vector<StreamOpPtr> averages_;
};

// The one tensor of a call: dense, contiguous (or in its memory format), in host memory. Throws what is wrong.
const at::Tensor& one(const Tensors& tensors, const char* what);
void check_tensor(const at::Tensor& tensor, const char* what);

}  // namespace regroup::python

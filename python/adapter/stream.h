// Stream: the order of a process group's collectives, for an adapter that promises more than the core: ops whose shape
// is the membership are done again by themselves in the next view, and every op has a deadline. Knows nothing of torch.
//
// Rule of order: an op is started at once (asynchronously), unless an op behind whose form is the membership is not
// settled: then it waits here, so that every member repeats such an op at the same place in the order of ops.
// Threading: any thread may push, wait and poll. Who waits drives: it waits in the core for the front op, finishes it
// and starts what it held up; a worker thread does so only for ops that somebody watches (futures). After a failure: an
// op's status says what; the stream goes on. After close() everything ends with kClosed.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "regroup/regroup.h"

namespace regroup::python {

using Time = std::chrono::steady_clock::time_point;

struct StreamOp {
  // Submits it in the view as it is now; called again after a view change when `shape`.
  std::function<Work(Group&, const ViewInfo&, const OpOptions&)> submit;
  std::function<void(const Outcome&)> finish;  // on success, before anybody is told; may be empty
  std::function<void()> after;                 // on success, behind finish
  bool shape = false;
  bool whole = false;  // nothing without all ranks: once it has committed without one, it fails, at everybody
  OpOptions how;       // given to submit
  int root = -1;       // rank that must be in the view; -1: none
  Time deadline;

  // Of the stream.
  Work work;
  bool started = false;
  Status status;
  std::atomic<bool> done{false};
};
using StreamOpPtr = std::shared_ptr<StreamOp>;

class Stream {
 public:
  explicit Stream(std::shared_ptr<Group> group);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  void push(const StreamOpPtr& op);
  // Until the op is done (true) or `until`.
  bool wait(const StreamOpPtr& op, Time until);
  bool poll(const StreamOpPtr& op) { return op->done.load(std::memory_order_acquire) || wait(op, {}); }
  // Its deadline has passed: asks for a decision that fails it everywhere; if none comes, it ends here with kTimeout.
  void expire(const StreamOpPtr& op);
  // Calls `then` on the worker when the op is done, at its deadline at the latest (expired then).
  void watch(const StreamOpPtr& op, std::function<void()> then);
  // Replicas that took part in the last op that committed; empty: none yet.
  [[nodiscard]] std::vector<int> contributors() const;
  [[nodiscard]] OpId last_op() const { return last_op_.load(); }  // its number
  [[nodiscard]] Code last_error() const { return last_error_.load(); }
  void close();  // at once; idempotent
  [[nodiscard]] Group& group() const { return *group_; }

 private:
  void start(StreamOp& op);  // mutex_ held, as in the next two
  void start_ready();
  void settle(const StreamOpPtr& op, const Result<Outcome>& result);
  bool drive(const StreamOpPtr& op, Time until);
  void work_loop();

  std::shared_ptr<Group> group_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;  // an op is done, or nobody drives
  std::deque<StreamOpPtr> queue_;    // not done, in order; those that are started come first
  bool driving_ = false;
  std::atomic<bool> closed_{false};
  std::atomic<Code> last_error_{Code::kOk};
  std::atomic<OpId> last_op_{0};
  std::vector<int> contributors_;
  std::shared_ptr<const ViewInfo> contributors_of_;
  std::vector<std::function<Work(Group&, const ViewInfo&, const OpOptions&)>>
      still_pending_;  // of expired ops: their tensors

  std::mutex watch_mutex_;
  std::condition_variable watched_;
  std::deque<std::pair<StreamOpPtr, std::function<void()>>> watches_;
  std::thread worker_;
};

}  // namespace regroup::python

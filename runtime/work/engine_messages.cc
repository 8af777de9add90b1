// Messages: send and recv. Those that stand next to one another in the queue go on together, in any order of ends;
// between them and collectives the order is that of the calls. They take no op number and need no decision of their
// own.
#include <cstring>

#include "runtime/work/engine.h"

namespace regroup {

// To the incarnation that the caller saw: pair and number are fixed from here on.
void Engine::bind(PairMessage& m) {
  m.bound = true;
  const View& view = counter_.decision().view;
  const auto index = view.index_of(m.peer);
  if (!index) return;
  const std::shared_ptr<PairEnd> pair = pairs_.with(view.members[*index].inc);
  if (!pair || pair->since > m.seen_epoch) return;
  m.pair = pair;
  m.number = m.send ? pair->counter.post_send() : pair->counter.post_recv();
}

void Engine::cancel_message(const OpPtr& op) {
  op->exec.message->cancel.store(true);
  wake();
}

// Where it was asked for and may be. True: the message is over. A send that has its number may be held by its receiver;
// a recv gives its number to the one behind it, so what was sent for it is not lost.
bool Engine::take_back(OpState& op) {
  PairMessage& m = *op.exec.message;
  if (!m.cancel.exchange(false)) return false;
  if (m.bound) {
    if (m.send || m.prepared || !m.pair || m.pair->counter.ended()) return false;
    std::lock_guard lock(mutex_);
    for (const OpPtr& other : queue_) {
      PairMessage* behind = other->exec.message.get();
      if (behind == nullptr || behind->send || behind->pair != m.pair || behind->number <= m.number) continue;
      --behind->number;
      behind->stage = 0;
    }
    m.pair->counter.cancel_recv();
  }
  settle(op, Error{Code::kCancelled, "the message was taken back before it came"});
  return true;
}

// What it sends stands in host memory. (The plane keeps to the order of those to one peer; a stream sees nothing of a recv
// before its end.)
bool Engine::may_go(const OpState& op) {
  if (!op.exec.message->send || !op.exec.stage) return true;
  const Result<bool> arrived = op.exec.stage->arrived();
  if (!arrived) lose(arrived.error());
  return arrived && *arrived;
}

Engine::Step Engine::step_messages(Instant deadline) {
  if (counter_.frozen()) return Step::kBlocked;
  running_.clear();
  messages_.clear();
  context_.posted_seen = posted_.load(std::memory_order_acquire);  // before the queue is looked at
  {
    std::lock_guard lock(mutex_);
    for (const OpPtr& op : queue_) {
      if (!op->exec.message || op->evicted || op->submitting) break;
      running_.push_back(op);
    }
  }
  bool settled = false;
  for (const OpPtr& op : running_) {
    PairMessage& m = *op->exec.message;
    if (take_back(*op)) {
      settled = true;
      continue;
    }
    if (!m.bound) bind(m);
    if (m.pair && !m.pair->counter.ended()) {
      if (may_go(*op)) messages_.push_back(&m);
      continue;
    }
    if (!end_message(*op)) return Step::kStopped;
    settled = true;
  }
  if (settled) return Step::kSettled;
  if (messages_.empty()) return Step::kBlocked;  // woken when one has arrived
  if (auto stopped = need_plane()) return *stopped;
  for (const OpPtr& op : running_) {
    PairMessage& m = *op->exec.message;
    if (m.epoch == counter_.epoch()) continue;
    m.epoch = counter_.epoch();
    m.stage = 0;
    ++op->attempts;
  }
  context_.deadline = deadline;
  const RunResult result = plane_->exchange(messages_, context_);
  if (result.state == RunState::kPrepared) broken_since_ = Instant{0};
  for (const OpPtr& op : running_) {
    if (!op->exec.message->done) continue;
    settle_message(*op);
    settled = true;
  }
  running_.clear();
  if (settled) failpoints_.hit(Point::kAfterCommit);
  if (settled) return Step::kSettled;
  return result.state == RunState::kBroken ? broken(result) : Step::kStopped;
}

// The pair is over, or never was. False: this member has died on the way.
bool Engine::end_message(OpState& op) {
  PairMessage& m = *op.exec.message;
  if (m.pair && !m.send && m.prepared && m.pair->counter.can_commit(m.number)) {
    failpoints_.hit(Point::kBeforeCopyOut);
    if (detached_.load()) return false;
    if (m.verdict == Code::kOk && m.bytes() != 0) std::memcpy(m.out, m.data, m.bytes());
    m.pair->counter.commit(m.number);
    settle_message(op);
    return true;
  }
  settle(op, Error{Code::kViewChanged,
                   m.pair ? "member " + to_string(m.peer) + " is gone"
                          : "member " + to_string(m.peer) + " is not the one that was seen: look at view()"});
  return true;
}

void Engine::settle_message(OpState& op) {
  PairMessage& m = *op.exec.message;
  m.held.reset();
  if (m.verdict == Code::kOk) {
    Outcome result = outcome(op, view_);
    result.op = m.number;
    return settle(op, std::move(result));
  }
  const std::string self = to_string(counter_.decision().view.members[counter_.self()].id);
  settle(op, Error{m.verdict, "message " + std::to_string(m.number) + (m.send ? " to " : " from ") + "member " +
                                  to_string(m.peer) +
                                  (m.verdict == Code::kMismatch ? ": it and member " + self + " differ in count or type"
                                                                : ": no memory for it")});
}

// A new epoch, and nothing of ours may be pending, but the other end of a message may wait to hear that it was settled.
void Engine::tell_settled() {
  if (life_.load() != Life::kActive || counter_.frozen() || detached_.load()) return;
  (void)need_plane();
}

}  // namespace regroup

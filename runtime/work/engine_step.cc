// One op, from ready to settled. The token is held.
#include <thread>

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "runtime/algo/plan.h"
#include "runtime/work/engine.h"

namespace regroup {
namespace {

constexpr Duration kChainPatience = Duration::from_ms(5);
constexpr Duration kBrokenPatience = Duration::from_ms(300);  // a peer that cannot be mapped may just be dying

}  // namespace

Engine::Step Engine::step(OpState& op, Instant deadline) {
  const Life life = life_.load();
  if (life == Life::kOver) {
    settle(op, over());
    return Step::kSettled;
  }
  if (life != Life::kActive) return Step::kBlocked;
  if (op.evicted) {
    if (std::exchange(restored_pending_, false)) host_.state_restored();
    settle(op, Error{Code::kEvicted, "this member was evicted and has rejoined; go on from the restored state"});
    return Step::kSettled;
  }
  if (op.settled_plane) {  // decided by the trim of a view change: everything stands in the old epoch's memory
    failpoints_.hit(Point::kBeforeCopyOut);
    op.settled_plane->copy_out(op.exec);
    recorder_.record(Event::kCommitted, op.exec.id, op.settled_view->epoch);
    Outcome result = outcome(op, op.settled_view);
    op.settled_plane.reset();
    settle(op, std::move(result));
    return Step::kSettled;
  }
  if (op.exec.message) return step_messages(deadline);
  ingest(op);
  if (counter_.frozen()) return Step::kBlocked;
  if (auto failed = counter_.failure_of(op.exec.id, op.exec.desc.shape())) {
    counter_.settle_failed(op.exec.id);
    recorder_.record(Event::kFailed, op.exec.id, counter_.epoch());
    std::string detail = std::string("op ") + std::to_string(op.exec.id) + " was failed by a decision: " + code_name(failed->code);
    if (failed->code == Code::kMismatch)
      detail += ": members " + to_string(failed->a) + " and " + to_string(failed->b) + " differ in count, type or operation";
    settle(op, Error{failed->code, std::move(detail)});
    report_cut();
    return Step::kSettled;
  }
  context_.deadline = deadline;
  if (!op.prepared)
    if (auto stop = ready_to_start(op, last_was_mark_)) return *stop;
  return attempt(op);
}

void Engine::ingest(const OpState& op) {
  if (!op.numbered || counter_.high() >= op.exec.id) return;
  RG_CHECK(counter_.submit(op.exec.desc.mark()) == op.exec.id);
}

// What must hold before an attempt is begun; else the reason to stop.
std::optional<Engine::Step> Engine::ready_to_start(OpState& op, bool at_mark) {
  const Decision& decision = counter_.decision();
  if (!counter_.can_prepare(op.exec.id) || op.asked) return Step::kBlocked;
  if (op.exec.stage) {
    const Result<bool> arrived = op.exec.stage->arrived();
    if (arrived.code() == Code::kNoMemory) return ask_decision(op, Code::kNoMemory, decision.view.members[counter_.self()].id);
    if (!arrived) lose(arrived.error());
    if (!arrived || !*arrived) return Step::kBlocked;
  }
  if (at_mark && decision.view.members.size() < static_cast<std::size_t>(options_.min_members)) {
    if (hold_since_ns_.load() == 0) hold_since_ns_.store(now().ns);
    return Step::kBlocked;
  }
  const OpDesc& desc = op.exec.desc;
  if (desc.shape() && desc.seen_epoch != counter_.epoch())
    return ask_decision(op, Code::kViewChanged, decision.view.members[counter_.self()].id);
  if (desc.rooted()) {
    const auto root = decision.view.index_of(MemberId{desc.root, 0});
    if (!root) return ask_decision(op, Code::kViewChanged, {desc.root, 0});
    op.exec.root_index = *root;
  }
  if (!algo::fits(desc, op.exec.tables.get(), decision.view.members.size()))
    return ask_decision(op, Code::kMismatch, decision.view.members[counter_.self()].id);
  if (at_mark && !std::exchange(op.step_begun, true)) failpoints_.hit_step(steps_.load() + 1);
  return std::nullopt;
}

Engine::Step Engine::ask_decision(OpState& op, Code code, MemberId other) {
  if (!std::exchange(op.asked, true))
    host_.post(OpRefused{FailedOp{op.exec.id, code, counter_.decision().view.members[counter_.self()].id, other}});
  return Step::kBlocked;
}

// Opens the plane of this epoch where it is not open yet; else the reason to stop.
std::optional<Engine::Step> Engine::need_plane() {
  if (broken_asked_) return Step::kBlocked;
  if (plane_) return std::nullopt;
  std::size_t bad_peer = counter_.self();
  Result<std::shared_ptr<Plane>> plane = host_.open_plane(counter_.decision(), counter_.self(), bad_peer);
  if (!plane) {
    RunResult result(RunState::kBroken);
    result.other = bad_peer;
    result.ban_shared = counter_.decision().plane != PlaneKind::kNetwork;
    result.detail = plane.error().detail;
    return broken(result);
  }
  plane_ = std::move(*plane);
  plane_->enter(pairs_);
  tell_settled_ = false;
  return std::nullopt;
}

Engine::Step Engine::attempt(OpState& op) {
  if (auto stopped = need_plane()) return *stopped;
  RunResult result(RunState::kPrepared);
  if (!op.prepared) result = prepare(op);
  if (op.prepared && op.chained)
    if (auto stopped = prepare_chain(op)) return *unsettled(op, *stopped);
  const OpId id = op.exec.id;
  if (op.prepared && announced_ < id && !options_.no_commit) {
    announced_ = std::max(counter_.prepared(), id);
    plane_->announce_prepared(announced_);
    failpoints_.hit(Point::kAfterPrepared);
    if (detached_.load()) return Step::kStopped;
  }
  if (op.prepared && options_.no_commit)
    for (std::size_t i = 0; i < counter_.decision().view.members.size(); ++i) counter_.observe(i, id);
  else if (op.prepared)
    result = plane_->await_commit(id, counter_, context_);
  if (auto stopped = unsettled(op, result)) return *stopped;
  counter_.commit(id);
  failpoints_.hit(Point::kBeforeCopyOut);
  if (detached_.load()) return Step::kStopped;
  plane_->copy_out(op.exec);
  plane_->release(id);
  recorder_.record(Event::kCommitted, id, counter_.epoch());
  settle(op, outcome(op, view_));
  report_cut();
  failpoints_.hit(Point::kAfterCommit);
  return Step::kSettled;
}

// Runs the plan of one op until its whole result stands.
RunResult Engine::prepare(OpState& op) {
  const OpId id = op.exec.id;
  if (op.started_epoch != counter_.epoch()) {
    op.started_epoch = counter_.epoch();
    recorder_.record(++op.attempts == 1 ? Event::kStarted : Event::kRedone, id, counter_.epoch());
  }
  RunResult result = plane_->run(op.exec, context_);
  if (result.state != RunState::kPrepared) return result;
  broken_since_ = Instant{0};
  counter_.prepare(id, op.exec.progress.digest);
  op.prepared = true;
  recorder_.record(Event::kPrepared, id, counter_.epoch());
  return result;
}

// The ops launched together with `front`, which is prepared, so that one `prepared` covers them all. What cannot be
// begun now (failed by a decision, behind a cut) ends the chain early: the ops before it commit on their own. So does what a
// peer lets wait for long: its input may be what its device makes of the front's result.
std::optional<RunResult> Engine::prepare_chain(OpState& front) {
  std::vector<OpPtr> chain;
  {
    std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < queue_.size() && (i == 0 || chain.back()->chained); ++i) chain.push_back(queue_[i]);
  }
  RG_CHECK(chain.front().get() == &front);
  for (std::size_t i = 1; i < chain.size(); ++i) {
    OpState& op = *chain[i];
    if (op.prepared) continue;
    ingest(op);
    if (op.evicted || counter_.failure_of(op.exec.id, op.exec.desc.shape())) return std::nullopt;
    if (ready_to_start(op, false)) return std::nullopt;
    const Instant caller = std::exchange(context_.deadline, std::min(context_.deadline, now() + kChainPatience));
    RunResult result = prepare(op);
    context_.deadline = caller;
    if (result.state == RunState::kStopped && !context_.should_stop() && (caller.is_never() || now() < caller)) return std::nullopt;
    if (result.state == RunState::kMismatch || result.state == RunState::kNoMemory) {
      (void)unsettled(op, result);  // asks for the decision that fails it
      return std::nullopt;
    }
    if (result.state != RunState::kPrepared) return result;
  }
  return std::nullopt;
}

// What becomes of an op that did not get through; nullopt: it did.
std::optional<Engine::Step> Engine::unsettled(OpState& op, const RunResult& result) {
  switch (result.state) {
    case RunState::kStopped: return Step::kStopped;
    case RunState::kMismatch:
      return ask_decision(op, result.stale_epoch ? Code::kViewChanged : Code::kMismatch,
                          counter_.decision().view.members[result.other].id);
    case RunState::kNoMemory:
      log::warn("op_refused", result.detail);
      return ask_decision(op, Code::kNoMemory, counter_.decision().view.members[counter_.self()].id);
    case RunState::kBroken: return broken(result);
    case RunState::kLost:
      push(Withdraw{Code::kSystem, result.detail});
      return Step::kStopped;
    case RunState::kPrepared: break;
  }
  return std::nullopt;
}

// This epoch cannot go on. A peer that is dying looks the same as one whose memory cannot be reached, so be patient first.
Engine::Step Engine::broken(const RunResult& result) {
  host_.check_peers();
  if (broken_since_.ns == 0) broken_since_ = now();
  if (result.ban_shared && now() - broken_since_ < kBrokenPatience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Step::kStopped;
  }
  const Decision& decision = counter_.decision();
  for (const std::size_t other : result.others)
    host_.post(PeerSuspected{decision.view.members[other].inc, SuspectKind::kLink});
  if (!result.accuse)
    host_.post(ChangeWanted{counter_.epoch(), result.ban_shared, "broken:" + to_string(decision.view.members[result.other].id)});
  recorder_.record(Event::kSuspect, 0, counter_.epoch(), static_cast<std::uint16_t>(result.other));
  broken_detail_ = result.detail;
  broken_asked_ = true;
  return Step::kBlocked;
}

Outcome Engine::outcome(const OpState& op, std::shared_ptr<const ViewInfo> view) const {
  Outcome result;
  result.op = op.exec.id;
  result.epoch = view->epoch;
  result.view = std::move(view);
  result.attempts = op.attempts;
  result.plan = op.exec.plan;
  return result;
}

// Removes the op from the queue's front and publishes its result. Who has no OpPtr of it must not look at it afterwards.
void Engine::settle(OpState& op, Result<Outcome> result) {
  op.result = std::move(result);
  if (op.numbered && !op.evicted) {
    last_was_mark_ = op.exec.desc.mark();
    std::uint64_t steps = steps_.load(std::memory_order_relaxed);  // in a view only the token's holder writes
    if (last_was_mark_) steps_.store(++steps, std::memory_order_relaxed);
    host_.settled(op, op.result, steps);
    committed_.store(counter_.committed(), std::memory_order_release);
  }
  if (op.exec.stage) op.exec.stage->settled(op.result.ok());
  hold_since_ns_.store(0, std::memory_order_relaxed);
  settled_count_.store(settled_count_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  OpPtr keep;
  bool sleepers;
  {
    std::lock_guard lock(mutex_);
    auto at = queue_.begin();
    while (at != queue_.end() && at->get() != &op && (*at)->exec.message) ++at;  // messages pass one another
    RG_CHECK(at != queue_.end() && at->get() == &op);
    keep = std::move(*at);
    at == queue_.begin() ? queue_.pop_front() : void(queue_.erase(at));
    if (op.exec.message) --queued_messages_;
    op.done.store(1, std::memory_order_release);
    sleepers = sleepers_.load(std::memory_order_relaxed) != 0;  // who goes to sleep looks at `done` below the lock
  }
  if (sleepers) changed();
}

void Engine::report_cut() {
  const std::optional<OpId> cut = counter_.cut_reached();
  if (!cut || cut_reported_ == counter_.epoch()) return;
  cut_reported_ = counter_.epoch();
  host_.post(CutReached{counter_.epoch(), *cut});
}

}  // namespace regroup

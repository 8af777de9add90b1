// Callers, the token and waiting.
#include "runtime/work/engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace regroup {
namespace {

constexpr std::size_t kBriefBytes = 4096;   // asynchronous ops up to here are begun by who submits them
constexpr std::size_t kMaxMessages = 4096;  // sends and receives that may be pending

}  // namespace

Engine::Engine(const Options& options, EngineHost& host, FlightRecorder& recorder, Failpoints& failpoints)
    : options_(options), host_(host), recorder_(recorder), failpoints_(failpoints) {
  context_.stop = &stop_;
  context_.failpoints = &failpoints_;
  context_.posted = &posted_;
  context_.check_peers = [this] { host_.check_peers(); };
  pending_since_ = link_down_since_ = now();
  progress_ = std::thread([this] { progress_loop(); });
}

Engine::~Engine() {
  close(Code::kClosed, "the group object was destroyed", true);
  {
    std::lock_guard lock(mutex_);
    progress_stop_ = true;
  }
  progress_wake_.notify_all();
  if (progress_.joinable()) progress_.join();
}

OpPtr Engine::submit(ExecOp&& call, bool wake) {
  auto op = std::make_shared<OpState>(std::move(call));
  const bool brief = wake && op->exec.desc.bytes() <= kBriefBytes && !op->exec.message && !failpoints_.armed();
  if (Status s = enqueue({&op, 1}, wake && !brief); !s) {
    op->end(s.error());
  } else if (brief && !glance(op.get()) && drivers_.load(std::memory_order_relaxed) == 0) {
    progress_wake_.notify_one();
  }
  return op;
}

// Begins a small op on its submitter's thread, and ends it where the peers are there already: less than waking a thread costs.
// True: it is done.
bool Engine::glance(const OpState* op) {
  {
    std::lock_guard lock(mutex_);
    if (queue_.empty() || queue_.front().get() != op) return false;  // it stays in front until it is done
  }
  if (!token_.try_lock()) return false;
  if (plane_ && plane_->brief(op->exec)) {
    context_.glance = true;
    drive(op, Instant{});
    context_.glance = false;
  }
  release_token();
  changed();  // for who found the token taken
  return op->done.load(std::memory_order_acquire) != 0;
}

void Engine::submit_all(std::span<const OpPtr> ops) {
  const auto messages = std::find_if(ops.begin(), ops.end(), [](const OpPtr& op) { return op->exec.message != nullptr; });
  std::size_t collectives = static_cast<std::size_t>(messages - ops.begin());
  while (!ops.empty()) {
    const auto part = ops.first(collectives == 0 ? ops.size() : std::min<std::size_t>(collectives, options_.window));
    if (collectives != 0) {
      for (const OpPtr& op : part.first(part.size() - 1)) op->chained = true;
      collectives -= part.size();
    }
    if (Status s = enqueue(part); !s) {
      for (const OpPtr& op : ops) {
        op->end(s.error());
      }
      return;
    }
    ops = ops.subspan(part.size());
  }
}

// Numbers the ops and puts them into the queue, all or none.
Status Engine::enqueue(std::span<const OpPtr> ops, bool wake) {
  bool parked = false;
  const bool armed = failpoints_.armed();
  for (;;) {
    std::unique_lock lock(mutex_);
    if (life_.load() == Life::kOver) return over_;
    const bool messages = ops.front()->exec.message != nullptr;
    const bool told = told_.load() == evictions_;
    const std::size_t pending = messages ? queued_messages_ : queue_.size() - queued_messages_;
    if (pending + ops.size() <= std::max<std::size_t>(messages ? kMaxMessages : options_.window, ops.size())) {
      for (const OpPtr& op : ops) {
        if (messages) {
          ++queued_messages_;
          if (!told || life_.load() != Life::kActive) op->evicted = evictions_;
          if (op->evicted != 0 && op->exec.stage) op->exec.stage->settled(false);
          parked = parked || life_.load() != Life::kActive;
        } else if (told && life_.load() == Life::kActive) {
          op->exec.id = ++submitted_;
          op->numbered = true;
          submitted_seen_.store(submitted_, std::memory_order_release);
          recorder_.record(Event::kSubmitted, op->exec.id, epoch_.load(std::memory_order_relaxed));
        } else {
          op->evicted = evictions_;
          if (op->exec.stage) op->exec.stage->settled(false);
          parked = life_.load() != Life::kActive;
        }
        op->submitting = armed;
        queue_.push_back(op);
      }
      if (messages) posted_.fetch_add(1, std::memory_order_release);
      break;
    }
    const OpPtr oldest = queue_.front();
    lock.unlock();
    const Duration bound = Duration::from_ns(static_cast<std::int64_t>(options_.wait_timeout_s * 1e9));
    if (await(oldest, now() + bound).code() == Code::kTimeout)
      return {Code::kTimeout, "the window of uncommitted ops is full; nothing was submitted"};
  }
  if (parked) host_.post(Parked{});
  if (armed) {  // a thread that drives what is ahead of them must stop in front of them: nothing is visible to peers here
    failpoints_.hit(Point::kAfterSubmit);
    {
      std::lock_guard lock(mutex_);
      for (const OpPtr& op : ops) op->submitting = false;
    }
    this->wake();
  }
  if (wake && drivers_.load(std::memory_order_relaxed) == 0) progress_wake_.notify_one();
  return {};
}

Result<Outcome> Engine::execute(ExecOp&& call, Instant deadline) {
  drivers_.fetch_add(1);  // the progress thread need not look
  const OpPtr op = submit(std::move(call));
  drive_until(*op, deadline);
  drivers_.fetch_sub(1);
  if (op->done.load(std::memory_order_acquire) == 0) return still_pending(*op);
  if (op->result.code() == Code::kEvicted) tell_eviction(*op);
  return std::move(op->result);  // nobody else has this op
}

Result<Outcome> Engine::wait(const OpPtr& op, Instant deadline) {
  Result<Outcome> result = await(op, deadline);
  if (result.code() == Code::kEvicted) tell_eviction(*op);
  return result;
}

void Engine::tell_eviction(const OpState& op) {
  for (std::uint32_t told = told_.load(); told < op.evicted && !told_.compare_exchange_weak(told, op.evicted);) {
  }
}

Result<Outcome> Engine::await(const OpPtr& op, Instant deadline) {
  drivers_.fetch_add(1);
  drive_until(*op, deadline);
  drivers_.fetch_sub(1);
  return op->done.load(std::memory_order_acquire) != 0 ? op->result : still_pending(*op);
}

// Until the op is done or the deadline has passed.
void Engine::drive_until(const OpState& op, Instant deadline) {
  while (op.done.load(std::memory_order_acquire) == 0) {
    const std::uint64_t seen = version_.load();
    bool blocked = true;
    if (token_.try_lock()) {
      blocked = drive(&op, deadline);
      release_token();
    }
    if (op.done.load(std::memory_order_acquire) != 0) break;
    if (!deadline.is_never() && now() >= deadline) break;
    if (blocked) sleep_until_change(seen, &op, deadline);
  }
}

Result<Outcome> Engine::still_pending(const OpState& op) {
  progress_wake_.notify_one();
  const std::string what = op.exec.message ? "a message" : "op " + std::to_string(op.exec.id);
  return {Code::kTimeout, what + " is still pending; wait for it again"};
}

bool Engine::drain(Instant deadline) {
  for (;;) {
    OpPtr last;
    {
      std::lock_guard lock(mutex_);
      if (queue_.empty()) return true;
      last = queue_.back();
    }
    if (await(last, deadline).code() == Code::kTimeout) return false;
  }
}

Engine::Life Engine::wait_installed(Instant deadline) {
  for (;;) {
    const std::uint64_t seen = version_.load();
    const Life life = life_.load();
    if (life == Life::kActive || life == Life::kOver || now() >= deadline) return life;
    sleep_until_change(seen, nullptr, deadline);
  }
}

Engine::Life Engine::wait_over(Instant deadline) {
  drivers_.fetch_add(1);
  while (life_.load() != Life::kOver && now() < deadline) sleep_until_change(version_.load(), nullptr, deadline);
  drivers_.fetch_sub(1);
  return life_.load();
}

std::shared_ptr<const ViewInfo> Engine::view() const {
  std::lock_guard lock(mutex_);
  return view_;
}

Error Engine::over() const {
  std::lock_guard lock(mutex_);
  return over_;
}

void Engine::close(Code code, const std::string& detail, bool abrupt) {
  if (abrupt) detached_.store(true);
  push(End{code, detail});
}

bool Engine::pending() const {
  std::lock_guard lock(mutex_);
  return !queue_.empty();
}

Engine::Snapshot Engine::snapshot() const {
  return {epoch_.load(), committed_.load(), submitted_seen_.load(), steps_.load()};
}

bool Engine::stable_as_of(OpId op) const {
  // That the next op was begun is the only sign that the user has done with the results of this one: it is asked for where
  // there is something of the user's to hand over. A group without it can be entered while it is idle.
  const bool holds_state = !options_.state.empty() || !options_.blobs.empty() || options_.apply;
  return committed_.load() >= op && (!holds_state || submitted_seen_.load() > op || leaving_.load());
}

// Token held. Runs the queue until `target` is done, nothing is left, the deadline has passed (false) or nothing can go
// on (true).
bool Engine::drive(const OpState* target, Instant deadline) {
  context_.deadline = deadline;
  bool blocked = true;
  for (;;) {
    if (stop_.load(std::memory_order_acquire) != 0) handle_orders();
    if (tell_settled_) tell_settled();
    if (target != nullptr && target->done.load(std::memory_order_acquire) != 0) {
      blocked = false;
      break;
    }
    OpState* op = nullptr;  // stays: only who has the token takes it from the queue
    {
      std::lock_guard lock(mutex_);
      if (queue_.empty() || queue_.front()->submitting) break;
      op = queue_.front().get();
    }
    const Step result = step(*op, deadline);
    if (result == Step::kSettled) continue;
    if (stop_.load(std::memory_order_acquire) != 0 && !detached_.load()) continue;
    if (result == Step::kBlocked || detached_.load()) break;
    if (!deadline.is_never() && now() >= deadline) {
      blocked = false;
      break;
    }
  }
  // The dead send nothing.
  pump_.store(!detached_.load() && (tell_settled_ || (plane_ && plane_->pump())), std::memory_order_relaxed);
  return blocked;
}

void Engine::release_token() {
  for (;;) {
    token_.unlock();
    if (!orders_pending_.load(std::memory_order_seq_cst) || !token_.try_lock()) break;
    handle_orders();
  }
  if (pump_.load(std::memory_order_relaxed)) progress_wake_.notify_one();
}

void Engine::sleep_until_change(std::uint64_t seen, const OpState* op, Instant deadline) {
  std::unique_lock lock(mutex_);
  sleepers_.fetch_add(1);
  if (version_.load() == seen && (op == nullptr || op->done.load() == 0)) {
    Duration bound = Duration::from_ms(10);
    if (!deadline.is_never()) bound = std::clamp(deadline - now(), Duration{}, bound);
    change_.wait_for(lock, std::chrono::nanoseconds(bound.ns));
  }
  sleepers_.fetch_sub(1);
}

void Engine::changed() {
  version_.fetch_add(1);
  if (sleepers_.load() == 0) return;
  { std::lock_guard lock(mutex_); }
  change_.notify_all();
}

void Engine::wake() {
  posted_.fetch_add(1, std::memory_order_release);  // who waits in an exchange looks again
  changed();
  progress_wake_.notify_one();
}

void Engine::progress_loop() {
  std::unique_lock lock(mutex_);
  while (!progress_stop_) {
    const bool work = (!queue_.empty() && drivers_.load() == 0) || pump_.load();
    if (!work) {
      progress_wake_.wait_for(lock, std::chrono::milliseconds(100));
      continue;
    }
    lock.unlock();
    const std::uint64_t seen = version_.load();
    bool blocked = true;
    if (token_.try_lock()) {
      blocked = drive(nullptr, Instant::never());
      release_token();
    }
    if (blocked || pump_.load()) sleep_until_change(seen, nullptr, now() + Duration::from_ms(pump_.load() ? 1 : 20));
    lock.lock();
  }
}

}  // namespace regroup

#include "transport/nccl/caller.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "base/clock.h"

namespace regroup::nccl {

struct Caller::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<std::pair<std::function<void()>, Call>> calls;
  std::size_t under_way = 0;
  bool closed = false, ended = false;
};

Caller::Caller() : state_(std::make_shared<State>()) {
  std::thread([state = state_] { loop(state); }).detach();
}

Caller::~Caller() { (void)end(now()); }

void Caller::loop(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (!state->closed) {
    if (state->calls.empty()) {
      state->changed.wait(lock);
      continue;
    }
    auto [work, call] = std::move(state->calls.front());
    state->calls.pop_front();
    lock.unlock();
    work();
    work = nullptr;  // what it owned goes here
    call->store(true, std::memory_order_release);
    lock.lock();
    --state->under_way;
    state->changed.notify_all();
  }
  state->ended = true;
  state->changed.notify_all();
}

Caller::Call Caller::start(std::function<void()> work) {
  auto call = std::make_shared<std::atomic<bool>>(false);
  {
    std::lock_guard lock(state_->mutex);
    if (state_->closed) return call;
    state_->calls.emplace_back(std::move(work), call);
    ++state_->under_way;
  }
  state_->changed.notify_all();
  return call;
}

bool Caller::wait(const Call& call, Instant deadline) {
  std::unique_lock lock(state_->mutex);
  while (!call->load(std::memory_order_acquire)) {
    const Duration left = deadline - now();
    if (left.ns <= 0) return false;
    state_->changed.wait_for(lock, std::chrono::nanoseconds(std::min(left.ns, Duration::from_ms(100).ns)));
  }
  return true;
}

bool Caller::idle() const {
  std::lock_guard lock(state_->mutex);
  return state_->under_way == 0;
}

bool Caller::end(Instant deadline) {
  std::deque<std::pair<std::function<void()>, Call>> dropped;  // freed outside the lock
  std::unique_lock lock(state_->mutex);
  state_->closed = true;
  state_->under_way -= state_->calls.size();
  dropped.swap(state_->calls);
  state_->changed.notify_all();
  while (!state_->ended) {
    const Duration left = deadline - now();
    if (left.ns <= 0) return false;
    state_->changed.wait_for(lock, std::chrono::nanoseconds(std::min(left.ns, Duration::from_ms(100).ns)));
  }
  return true;
}

}  // namespace regroup::nccl

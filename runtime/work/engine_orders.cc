// What the core orders. Pushed on the control thread; carried out by whoever holds the token (only counters and pointers move).
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "runtime/work/engine.h"

namespace regroup {

void Engine::push(Order order) {
  {
    std::lock_guard lock(mutex_);
    orders_.push_back(std::move(order));
    orders_pending_.store(true, std::memory_order_seq_cst);
  }
  stop_.store(1, std::memory_order_seq_cst);
  if (token_.try_lock()) {
    handle_orders();
    release_token();
  }
}

void Engine::order_freeze(Epoch epoch) { push(Freeze{epoch}); }
void Engine::order_install(const Decision& decision, std::size_t self) { push(InstallOrder{decision, self}); }
void Engine::order_cut(Epoch epoch) { push(Cut{epoch}); }
void Engine::order_end(Code code, const std::string& detail) { push(End{code, detail}); }

void Engine::lose(const Error& why) { push(Withdraw{why.code, why.detail}); }

void Engine::handle_orders() {
  std::vector<Order> orders;
  {
    std::lock_guard lock(mutex_);
    orders.swap(orders_);
    orders_pending_.store(false, std::memory_order_seq_cst);
    stop_.store(detached_.load() ? 1 : 0, std::memory_order_seq_cst);
  }
  if (orders.empty()) return;
  for (const Order& order : orders) std::visit([&](const auto& o) { handle(o); }, order);
  changed();
}

void Engine::handle(const Freeze& order) {
  if (order.epoch != counter_.epoch() || detached_.load()) return;
  {
    std::lock_guard lock(mutex_);
    for (const OpPtr& op : queue_) ingest(*op);  // high must cover every op that has a number
  }
  if (plane_) plane_->fence();
  const Report report = counter_.freeze();
  recorder_.record(Event::kWedge, report.prepared, report.epoch);
  host_.post(Frozen{report});
  failpoints_.hit(Point::kWedged);
}

void Engine::handle(const InstallOrder& order) {
  const Decision& d = order.decision;
  if (detached_.load() || life_.load() == Life::kOver || d.view.epoch <= counter_.epoch()) return;
  const bool first = counter_.epoch() == 0;
  auto info = std::make_shared<ViewInfo>();
  info->log = d.view.log;
  info->epoch = d.view.epoch;
  for (const MemberInfo& m : d.view.members) info->members.push_back(m.id);
  info->self = order.self;
  info->transport = name_of(d.plane, options_.transport);
  info->reason = d.reason;
  std::shared_ptr<Plane> ended = std::move(plane_);
  plane_.reset();
  {
    std::lock_guard lock(mutex_);
    for (const OpPtr& op : queue_) {
      if (first || op->settled_plane || op->evicted) continue;
      if (op->exec.message) {
        if (!op->exec.message->bound) bind(*op->exec.message);  // to whom it was meant for
        continue;
      }
      if (op->exec.id <= d.trim) {
        RG_CHECK_MSG(op->prepared && ended, "a decision commits an op that was not prepared here");
        op->settled_plane = ended;
        op->settled_view = view_;
        continue;
      }
      op->exec.progress = {};
      op->prepared = op->asked = false;
    }
    if (ended) ended->fence(), ended->retire();
    counter_.install(d, order.self);
    pairs_.enter(d.view, order.self);
    view_ = std::move(info);
    if (first) {
      submitted_ = d.trim;
      submitted_seen_.store(d.trim);
      committed_.store(d.trim);
      last_was_mark_ = true;
      restored_pending_ = life_.load() == Life::kEvicted;
    }
    life_.store(Life::kActive);
    epoch_.store(d.view.epoch);  // below the lock: who sees it finds the view
  }
  tell_settled_ = pairs_.owes();
  if (tell_settled_) pump_.store(true);
  announced_ = 0;
  broken_asked_ = false;
  broken_since_ = Instant{0};
  hold_since_ns_.store(0);
  recorder_.record(Event::kInstall, d.trim, d.view.epoch);
  failpoints_.hit(Point::kInstalled);
  progress_wake_.notify_one();
}

void Engine::handle(const Cut& order) {
  if (order.epoch != counter_.epoch()) return;
  counter_.plan_cut();
  report_cut();
}

void Engine::handle(const End& order) {
  const bool rejoin = order.code == Code::kEvicted && options_.auto_rejoin && !detached_.load() && !leaving_.load();
  plane_.reset();
  counter_ = CommitCounter{};
  pairs_ = PairBook{};
  tell_settled_ = false;
  recorder_.record(Event::kEnded, 0, epoch_.load(), static_cast<std::uint16_t>(order.code));
  if (!rejoin) return finish_all(order.code, order.detail);
  bool waiting = false;
  {
    std::lock_guard lock(mutex_);
    ++evictions_;
    for (const OpPtr& op : queue_) {
      op->evicted = evictions_;
      op->settled_plane.reset();
      if (op->exec.stage) op->exec.stage->settled(false);  // its stream may be what restoring the state needs
    }
    waiting = !queue_.empty();
    life_.store(Life::kEvicted);
  }
  host_.incarnation_over();
  if (waiting) host_.post(Parked{});
}

void Engine::handle(const Withdraw& order) {
  if (life_.load() != Life::kActive) return;
  if (plane_) plane_->withdraw();
  plane_.reset();
  host_.withdrawn();
  finish_all(order.code, order.detail);
}

void Engine::finish_all(Code code, const std::string& detail) {
  std::lock_guard lock(mutex_);
  if (life_.load() == Life::kOver) return;
  over_ = Error{code, detail};
  life_.store(Life::kOver);
  for (const OpPtr& op : queue_) {
    op->end(over_);
  }
  queue_.clear();
  queued_messages_ = 0;
}

void Engine::coordinator_link(bool up) {
  link_up_ = up;
  link_down_since_ = now();
}

// Control thread: bounds that nobody else keeps.
void Engine::tick(Instant at) {
  OpId front = 0;
  bool pending = false;
  {
    std::lock_guard lock(mutex_);
    if (!queue_.empty() && queue_.front()->numbered && !queue_.front()->evicted) front = queue_.front()->exec.id;
    pending = front != 0 || (!queue_.empty() && queue_.front()->exec.message && !queue_.front()->evicted);
  }
  const std::uint64_t settled = settled_count_.load();
  if (!pending || settled != settled_at_tick_) pending_since_ = at;
  settled_at_tick_ = settled;
  const Duration bound = Duration::from_ns(static_cast<std::int64_t>(options_.unavailable_timeout_s * 1e9));
  if (!link_up_ && life_.load() == Life::kActive && at - pending_since_ > bound && at - link_down_since_ > bound)
    push(Withdraw{Code::kUnavailable, "no coordinator for " + std::to_string(options_.unavailable_timeout_s) +
                                          " s while an op needed one; nothing was decided"});
  const std::int64_t held = hold_since_ns_.load();
  if (held != 0 && front != 0 && at.ns - held > bound.ns)
    host_.post(OpRefused{FailedOp{front, Code::kUnavailable, {}, {}}});
}

}  // namespace regroup

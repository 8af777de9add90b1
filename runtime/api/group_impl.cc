#include "runtime/api/group_impl.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "transport/wire/address.h"

namespace regroup {

GroupImpl::GroupImpl(Options options, std::vector<MemberId> parent_ids)
    : options_(std::move(options)),
      parent_ids_(std::move(parent_ids)),
      inc_(random_incarnation()),
      engine_(options_, *this, recorder_, failpoints_) {
  failpoints_.set_hook([this](Point point) { die_at(point); });
}

GroupImpl::~GroupImpl() {
  close(true);
  if (closer_.joinable()) closer_.join();
  for (void* memory : plain_buffers_) std::free(memory);
}

Instant GroupImpl::deadline(double timeout_s) const {
  const double s = timeout_s > 0 ? timeout_s : options_.wait_timeout_s;
  const Instant begin = s < 1 ? now() : now_coarse();
  return begin + Duration::from_ns(s < 9e9 ? static_cast<std::int64_t>(s * 1e9) : INT64_MAX);  // a Duration's longest
}

Status GroupImpl::leave(Instant deadline) {
  if (!engine_.drain(deadline)) return {Code::kTimeout, "leave: ops are still pending"};
  if (checkpointer_) checkpointer_->finish(deadline);
  engine_.set_leaving();
  post(LeaveWanted{});
  if (engine_.wait_over(deadline) != Engine::Life::kOver) return {Code::kTimeout, "leave: the view without us is not decided yet"};
  left_.store(true);
  close(false);
  return {};
}

void GroupImpl::close(bool abrupt) {
  std::lock_guard lock(close_mutex_);  // who comes second returns when it is done
  if (closed_.exchange(true)) return;
  stop_fetch_.store(true);
  engine_.close(Code::kClosed, "the group was closed", abrupt);
  if (control_owner_) control_owner_->stop(abrupt && !left_.load());
  aux_.stop();
  if (checkpointer_) checkpointer_->stop();
  state_server_.reset();
  std::shared_ptr<state::Joiner> last, retired;  // joined here, outside the lock
  {
    std::lock_guard joiner_lock(joiner_mutex_);
    last = std::exchange(joiner_, nullptr);
    retired = std::exchange(retired_, nullptr);
  }
}

// Failpoint action `call`: this member dies here, the process lives (members as threads). Wedged and installed may be
// passed on the control thread, which close() joins.
void GroupImpl::die_at(Point point) {
  if (point != Point::kWedged && point != Point::kInstalled) return close(true);
  engine_.close(Code::kClosed, "the group was closed", true);  // from here on nothing of ours is raised
  closer_ = std::thread([this] { close(true); });
}

// Of the submitting thread: without a lock while the view stays.
const calls::Site& GroupImpl::submit_site() {
  if (!submit_site_.view || submit_site_.view->epoch != engine_.snapshot().epoch) submit_site_ = site();
  submit_site_.seen_epoch = seen_epoch_.load();
  return submit_site_;
}

calls::Site GroupImpl::site() const {
  calls::Site site;
  site.view = engine_.view();
  site.explicit_marks = options_.explicit_marks;
  site.seen_epoch = seen_epoch_.load();
  site.world_size = static_cast<std::uint32_t>(options_.world_size);
  return site;
}

Result<Outcome> GroupImpl::run(Result<ExecOp> call, const OpOptions& options) {
  if (grouping_) return {Code::kInvalid, "a blocking call between group_start and group_end"};
  if (!call) return call.error();
  if (options.cut_bytes != 0 && call->desc.bytes() > options.cut_bytes) return run_cut(std::move(*call), options);
  if (call->stage && device_stalls()) return wait(start(std::move(call), options), options.timeout_s);
  return seen(engine_.execute(std::move(*call), deadline(options.timeout_s)));
}

OpPtr GroupImpl::start(Result<ExecOp> call, const OpOptions& options) {
  if (call && options.cut_bytes != 0 && call->desc.bytes() > options.cut_bytes) return start_cut(std::move(*call), options);
  if (call && !grouping_) {
    OpPtr op = engine_.submit(std::move(*call), !options.wait_follows);
    if (op->exec.stage && device_stalls()) finish({&op, 1});
    return op;
  }
  auto op = std::make_shared<OpState>();
  if (!call) {
    op->end(call.error());
    return op;
  }
  op->exec = std::move(*call);
  grouped_.push_back(op);
  return op;
}

Status GroupImpl::group_start() {
  if (std::exchange(grouping_, true)) return {Code::kInvalid, "group_start inside a group"};
  return {};
}

Status GroupImpl::group_end() {
  if (!std::exchange(grouping_, false)) return {Code::kInvalid, "group_end without group_start"};
  for (const OpPtr& op : grouped_)
    if (op->exec.stage && !device_stalls()) (void)hold(*op->exec.stage);  // an error ends the group object, and these with it
  // Messages after the collectives, so that where in its group a member has them does not matter.
  std::stable_partition(grouped_.begin(), grouped_.end(), [](const OpPtr& op) { return !op->exec.message; });
  const std::vector<OpPtr> ops = std::exchange(grouped_, {});
  engine_.submit_all(ops);
  if (device_stalls()) finish(ops);
  return {};
}

Result<Outcome> GroupImpl::seen(Result<Outcome> result) {
  if (result.code() == Code::kTimeout || result.code() == Code::kUnavailable) {  // a bound expired: keep what led to it
    recorder_.record(Event::kTimeout, engine_.snapshot().committed, engine_.snapshot().epoch);
    recorder_.request_dump();
  }
  if (result.code() == Code::kEvicted && founded_.load())
    if (Status s = agree_on_state(deadline(0)); !s) return s.error();
  if (!result) return result;
  Epoch before = seen_epoch_.load(std::memory_order_relaxed);
  while (before < result->epoch && !seen_epoch_.compare_exchange_weak(before, result->epoch)) {
  }
  return result;
}

ViewInfo GroupImpl::view() {
  const std::shared_ptr<const ViewInfo> view = engine_.view();
  if (!view) return {};
  seen_epoch_.store(view->epoch);
  return *view;
}

Result<void*> GroupImpl::allocate(std::size_t bytes) {
  if (domain_) return domain_->allocate(bytes);
  void* memory = std::aligned_alloc(4096, (std::max<std::size_t>(bytes, 1) + 4095) / 4096 * 4096);
  if (memory == nullptr) return {Code::kNoMemory, "buffer of " + std::to_string(bytes) + " bytes"};
  std::memset(memory, 0, bytes);
  std::lock_guard lock(buffers_mutex_);
  plain_buffers_.push_back(memory);
  return memory;
}

Status GroupImpl::deallocate(void* memory) {
  if (!engine_.drain(deadline(0))) return {Code::kTimeout, "deallocate: ops are still in flight"};
  if (domain_) return domain_->deallocate(memory);
  std::lock_guard lock(buffers_mutex_);
  if (std::erase(plain_buffers_, memory) == 0) return {Code::kInvalid, "deallocate: this address was not allocated here"};
  std::free(memory);
  return {};
}

void GroupImpl::cancel(OpId op) { post(OpRefused{FailedOp{op, Code::kCancelled, {static_cast<std::uint32_t>(options_.rank), 0}, {}}}); }

// --- DataSide ---

void GroupImpl::install(const Decision& decision, std::size_t self) {
  if (const auto j = joiner()) {
    j->stop();
    founded_.store(decision.founds());
    if (decision.founds()) {
      holder_->feed().begin(decision.trim);
      holder_->hide();
    }
    std::lock_guard lock(joiner_mutex_);
    if (j == joiner_) retired_ = std::exchange(joiner_, nullptr);
  }
  if (seat_) seat_->open.store(decision.plane == PlaneKind::kShared);  // until its plane knows better
  engine_.order_install(decision, self);
  if (!options_.on_view) return;
  ViewInfo info;
  info.log = decision.view.log;
  info.epoch = decision.view.epoch;
  for (const MemberInfo& m : decision.view.members) info.members.push_back(m.id);
  info.self = self;
  info.transport = name_of(decision.plane, options_.transport);
  info.reason = decision.reason;
  options_.on_view(info);
}

void GroupImpl::fetch(const Fetch& what) {
  if (const auto j = joiner()) return j->hand_over(what);
  aux_.post([this, what] {
    const Instant begin = now();
    Result<wire::MemberAddress> source = wire::decode_address(what.source.address);
    Result<state::Served> got = Error{Code::kRefused, "malformed address"};
    if (source)
      got = state::fetch_state(source->data_host, source->state_port, options_.group, options_.secret, what.op,
                               options_.state, begin + Duration::from_s(30), &stop_fetch_);
    if (got) {
      engine_.set_steps(got->steps);
      restore_ns_.store((now() - begin).ns);
      recorder_.record(Event::kRestored, what.op, 0, static_cast<std::uint16_t>(what.source.id.replica));
    } else {
      log::warn("restore_failed", "from=" + to_string(what.source.id) + " why=\"" + got.error().detail + "\"");
    }
    post(LevelReached{what.plan, what.op, got.ok()});
    if (got.code() == Code::kConfig) engine_.close(Code::kConfig, got.error().detail, false);
  });
}

void GroupImpl::coordinator_link(bool up) {
  recorder_.record(up ? Event::kLinkUp : Event::kLinkDown, 0, 0);
  engine_.coordinator_link(up);
}

void GroupImpl::tick(Instant at) {
  engine_.tick(at);
  recorder_.tick();
}

DataSide::Progress GroupImpl::progress() const {
  const Engine::Snapshot s = engine_.snapshot();
  return {s.epoch, s.committed};
}

std::string GroupImpl::status_json() const {
  nlohmann::json json;
  for (const auto& [key, value] : options_.effective()) json["options"][key] = value;
  const Engine::Snapshot s = engine_.snapshot();
  json["machine"] = machine_.text();
  json["steps"] = s.steps;
  json["submitted"] = s.submitted;
  if (const auto j = joiner()) {
    const state::Joiner::Progress p = j->progress();
    auto& c = json["catch_up"];
    c["phase"] = p.phase;
    c["bytes"] = p.bytes, c["bytes_total"] = p.bytes_total;
    c["step"] = p.step, c["replayed"] = p.replayed;
    c["journal_ops"] = p.journal_ops, c["journal_bytes"] = p.journal_bytes;
    c["snapshots"] = p.rounds, c["seconds"] = p.seconds, c["kept_bytes"] = p.kept;
    if (p.rate > 0) c["left_s"] = static_cast<double>(p.bytes_total - std::min(p.bytes, p.bytes_total)) / p.rate;
    if (!p.last_trouble.empty()) c["trouble"] = p.last_trouble;
  }
  return json.dump();
}

// --- EngineHost ---

void GroupImpl::post(MemberInput input) {
  if (const auto* parked = std::get_if<Parked>(&input); parked != nullptr && parked->how == Readiness::kHold)
    if (const auto j = joiner()) {
      j->begin();  // the user's thread waits inside the library
      input = Parked{Readiness::kFounder};
    }
  if (Control* control = control_.load()) control->post(std::move(input));
}

void GroupImpl::check_peers() {
  if (Control* control = control_.load()) control->check_peers();
}

void GroupImpl::incarnation_over() {
  log::info("evicted", "group=" + options_.group + " rank=" + std::to_string(options_.rank) + " inc=" + to_string(inc_));
  aux_.post([this] {
    inc_ = random_incarnation();
    staging_.holds = hybrid_staging_.holds = 0;
    links_->set_identity(inc_);
    if (shm_pairs_) shm_pairs_->reset();
    if (domain_) domain_->set_owner(inc_);
    if (options_.apply) new_joiner();
    if (Control* control = control_.load()) control->restart(member_config());
    // What it restores may be in use until the user's thread is in the library: its next call says so, if no op does.
    const bool holds_state = !options_.state.empty() || !options_.blobs.empty() || options_.apply;
    if (!holds_state || engine_.pending()) post(Parked{});
  });
}

void GroupImpl::withdrawn() {
  aux_.post([this] {
    if (control_owner_) control_owner_->stop(true);
  });
}

void GroupImpl::state_restored() {
  if (options_.on_restored) options_.on_restored();
}

}  // namespace regroup

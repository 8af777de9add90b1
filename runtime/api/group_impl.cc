#include "runtime/api/group_impl.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "ft/driver/coordinator_process.h"
#include "runtime/topo/measure.h"
#include "transport/wire/address.h"
#include "transport/wire/frame.h"

namespace regroup {
namespace {

// Of a caller: at most as long as a Duration can be.
Duration seconds(double s) { return Duration::from_ns(s < 9e9 ? static_cast<std::int64_t>(s * 1e9) : INT64_MAX); }

}  // namespace

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
  return now() + seconds(timeout_s > 0 ? timeout_s : options_.wait_timeout_s);
}

Status GroupImpl::find_coordinator(ControlOptions& control) const {
  control.coordinator = options_.coordinator;
  if (!control.coordinator.empty()) return {};
  const char* host = std::getenv("MASTER_ADDR");
  const char* port = std::getenv("MASTER_PORT");
  if (host == nullptr || port == nullptr)
    return {Code::kConfig, "no coordinator: set REGROUP_COORDINATOR=host:port, start with `regroup run`, or set MASTER_ADDR "
                           "and MASTER_PORT to let rank 0 start one on this host"};
  control.coordinator = std::string(host).find(':') == std::string::npos ? std::string(host) + ":" + port
                                                                         : "[" + std::string(host) + "]:" + port;
  Result<Autostart> autostart = autostart_at(control.coordinator, options_.group);
  if (!autostart) return autostart.error();
  control.autostart = *autostart;
  return {};
}

std::string GroupImpl::config_text() const {
  std::string text = options_.shared_text();
  if (options_.apply) text += " catch_up=apply";
  for (const StateBlob& blob : options_.blobs) text += " blob." + blob.name;
  for (const StateBuffer& buffer : options_.state) text += " state." + buffer.name + "=" + std::to_string(buffer.bytes) +
            (buffer.shape.empty() ? "" : ":" + state::describe({buffer.name, buffer.type, buffer.shape, buffer.bytes}));
  if (!options_.cost.empty()) text += " cost=" + machine_.text();  // what a file says, not where it lies
  return text;
}

// Figures that plans are chosen by: those of the option `cost`, else measured here. Every member tells its own with its
// address, so that a decision carries those of all.
Status GroupImpl::find_figures(const std::string& coordinator) {
  if (options_.cost.empty()) {
    if (options_.transport != "shm") machine_ = topo::measure(data_host_, coordinator, Duration::from_ms(100));
    return {};
  }
  std::string text = options_.cost;
  if (text.front() == '@') {
    std::ifstream file(text.substr(1));
    if (!file) return {Code::kConfig, "cost: the file " + text.substr(1) + " cannot be read"};
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  if (Status s = machine_.parse(text); !s) return {Code::kConfig, "cost: " + s.error().detail};
  return {};
}

// Where peers reach this member: the address named by the option, else the one that reaches the coordinator.
Status GroupImpl::open_listeners(const std::string& coordinator) {
  Result<std::string> host = tcp::data_address(coordinator, options_.interface);
  if (!host) return host.error();
  data_host_ = *host;
  tcp::LinkOptions links;
  links.self = {options_.group, options_.secret, {static_cast<std::uint32_t>(options_.rank), 0}, inc_};
  links.host = data_host_;
  Result<std::unique_ptr<tcp::LinkSet>> listening = tcp::LinkSet::listen(std::move(links));
  if (!listening) return listening.error();
  links_ = std::move(*listening);
  state::StateServer::Config config;
  config.group = options_.group;
  config.secret = options_.secret;
  config.host = data_host_;
  config.state = options_.state;
  config.stable_as_of = [this](OpId op) { return engine_.stable_as_of(op); };
  config.steps = [this] { return engine_.snapshot().steps; };
  if (options_.apply) {
    state::Holder::Config holder;
    holder.state = options_.state;
    holder.blobs = options_.blobs;
    holder.snapshot_bytes = options_.snapshot_bytes;
    holder.feed_bytes = options_.feed_bytes;
    holder.rate = options_.catch_up_rate;
    holder.busy = [this] {
      const Engine::Snapshot s = engine_.snapshot();
      return s.submitted != s.committed;
    };
    holder_ = std::make_unique<state::Holder>(std::move(holder));
    config.holder = holder_.get();
    if (Status s = open_checkpoints(); !s) return s;
    new_joiner();
  }
  Result<std::unique_ptr<state::StateServer>> server = state::StateServer::start(std::move(config));
  if (!server) return server.error();
  state_server_ = std::move(*server);
  return {};
}

MemberConfig GroupImpl::member_config() {
  wire::MemberAddress address;
  if (domain_) address.segment_socket = domain_->socket_name();
  address.data_host = data_host_;
  address.data_port = links_->endpoint().port;
  address.state_port = state_server_->port();
  address.pid = ::getpid();
  address.host = locality();
  address.machine = machine_.text();
  MemberConfig config;
  config.group = options_.group;
  config.self.id = {static_cast<std::uint32_t>(options_.rank), 0};
  config.self.inc = inc_;
  config.self.locality = domain_ ? locality() : 0;
  config.self.address = wire::encode(address);
  config.config = config_text();
  config.config_hash = wire::group_hash(config.config);
  config.world_size = static_cast<std::uint32_t>(options_.world_size);
  return config;
}

Status GroupImpl::start(const std::function<bool()>& give_up) {
  const Instant until = now() + seconds(options_.join_timeout_s);
  if (Status s = options_.validate(); !s) return s;
  if (Status s = failpoints_.arm(options_.failpoints); !s) return s;
  recorder_.set_label("group=" + options_.group + " rank=" + std::to_string(options_.rank));
  if (!options_.trace_file.empty())
    if (Status s = recorder_.trace_to(trace_path(options_.trace_file, options_.rank)); !s) return s;
  if (options_.transport != "tcp") {
    Result<std::unique_ptr<shm::Domain>> domain = shm::Domain::create(inc_, 2 * options_.window, options_.small_bytes, &failpoints_);
    if (!domain && (options_.transport == "shm" || domain.code() == Code::kNoMemory)) return domain.error();
    if (domain) {
      domain_ = std::move(*domain);
      shm_pairs_ = std::make_unique<ShmPairs>(*domain_, static_cast<std::size_t>(options_.world_size), options_.staging_bytes);
    }
  }
  ControlOptions control;
  control.group = options_.group;
  control.secret = options_.secret;
  control.launched = parent_ids_.empty();
  if (Status s = find_coordinator(control); !s) return s;
  coordinator_ = control.coordinator;
  if (Status s = open_listeners(control.coordinator); !s) return s;
  if (Status s = find_figures(control.coordinator); !s) return s;
  Result<std::unique_ptr<Control>> started = Control::start(control, member_config(), *this);
  if (!started) return started.error();
  control_owner_ = std::move(*started);
  control_.store(control_owner_.get());
  post(Parked{});
  Engine::Life life = Engine::Life::kJoining;
  while (life == Engine::Life::kJoining && now() < until) {
    life = engine_.wait_installed(give_up ? std::min(until, now() + Duration::from_ms(10)) : until);
    if (life == Engine::Life::kJoining && give_up && give_up())
      return {Code::kViewChanged, "the view changed while a sub-group of it was joined"};
  }
  if (life == Engine::Life::kActive) {
    seen_epoch_.store(engine_.view()->epoch);
    if (Status s = agree_on_state(until); !s) return s;
    if (options_.transport == "shm" && engine_.view()->transport != "shm")
      return {Code::kUnsupported, "transport shm was asked for, but the members do not share one host"};
    return {};
  }
  if (life == Engine::Life::kOver) return engine_.over();
  if (const auto j = joiner(); j && !j->progress().last_trouble.empty())
    return {Code::kTimeout, "not caught up within " + std::to_string(options_.join_timeout_s) + " s: " + j->progress().last_trouble};
  const std::string trouble = control_owner_->trouble();
  if (!trouble.empty()) return {Code::kUnavailable, "no coordinator at " + control.coordinator + ": " + trouble};
  return {Code::kTimeout, "not in a view of group '" + options_.group + "' within " + std::to_string(options_.join_timeout_s) +
                              " s: other members are missing, or a living member holds rank " + std::to_string(options_.rank)};
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
  return seen(engine_.execute(std::move(*call), deadline(options.timeout_s)));
}

OpPtr GroupImpl::start(Result<ExecOp> call, const OpOptions& options) {
  if (call && options.cut_bytes != 0 && call->desc.bytes() > options.cut_bytes) return start_cut(std::move(*call), options);
  if (call && !grouping_) return engine_.submit(std::move(*call));
  auto op = std::make_shared<OpState>();
  if (!call) {
    op->result = call.error();
    op->done.store(1);
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
  // Messages after the collectives, so that where in its group a member has them does not matter.
  std::stable_partition(grouped_.begin(), grouped_.end(), [](const OpPtr& op) { return !op->exec.message; });
  engine_.submit_all(std::exchange(grouped_, {}));
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
  engine_.order_install(decision, self);
  if (!options_.on_view) return;
  ViewInfo info;
  info.log = decision.view.log;
  info.epoch = decision.view.epoch;
  for (const MemberInfo& m : decision.view.members) info.members.push_back(m.id);
  info.self = self;
  info.transport = name_of(decision.plane);
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
                               options_.state, begin + seconds(30), &stop_fetch_);
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
    c["snapshots"] = p.rounds, c["seconds"] = p.seconds;
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

// Members with equal ones share memory and see each other die.
std::uint64_t GroupImpl::locality() const {
  return options_.host_id.empty() ? wire::host_locality() : std::max<std::uint64_t>(wire::group_hash("host " + options_.host_id), 1);
}

void GroupImpl::check_peers() {
  if (Control* control = control_.load()) control->check_peers();
}

// How the ops of a network view are carried out: by the options marked (=) and what the decision says of the members'
// machines, so alike at every member.
algo::Rules GroupImpl::plan_rules(const View& view, PlaneKind plane) const {
  algo::Rules rules;
  rules.small_bytes = options_.small_bytes;
  rules.canonical = options_.order == "canonical";
  rules.form = algo::form_named(options_.plan);
  std::vector<wire::MemberAddress> addresses;
  for (const MemberInfo& m : view.members)
    if (Result<wire::MemberAddress> address = wire::decode_address(m.address)) addresses.push_back(std::move(*address));
  std::vector<std::string> hosts;  // two names of one host are one host where its members can tell
  for (const wire::MemberAddress& a : addresses) hosts.push_back(a.host != 0 ? std::to_string(a.host) : a.data_host);
  std::vector<algo::MemberMachine> machines;
  for (const wire::MemberAddress& address : addresses) {
    machines.push_back({hosts[machines.size()], {}});
    if (algo::Machine said; said.parse(address.machine).ok()) machines.back().machine = said;
  }
  rules.machine = algo::agree(machines);
  rules.machine.small_bytes = options_.small_bytes;
  if (plane != PlaneKind::kHybrid || options_.plan != "hierarchical") return rules;
  std::vector<std::size_t> first;  // member of each host
  for (std::size_t i = 0; i < view.members.size(); ++i) {
    const std::uint64_t here = view.members[i].locality;
    const auto at = std::find_if(first.begin(), first.end(), [&](std::size_t f) { return here != 0 && view.members[f].locality == here; });
    rules.hosts.push_back(static_cast<std::uint32_t>(at - first.begin()));
    if (at == first.end()) first.push_back(i);
  }
  return rules;
}

Result<std::shared_ptr<Plane>> GroupImpl::open_plane(const Decision& decision, std::size_t self, std::size_t& bad_peer) {
  if (decision.plane == PlaneKind::kShared) {
    if (!domain_) return Error{Code::kUnsupported, "no shared memory here"};
    Result<std::unique_ptr<ShmPlane>> plane = ShmPlane::open(*domain_, staging_, *shm_pairs_, decision.view, self, bad_peer, options_.window);
    if (!plane) return plane.error();
    return std::shared_ptr<Plane>(std::move(*plane));
  }
  const NetPlane::Config config{options_.staging_bytes, plan_rules(decision.view, decision.plane)};
  if (decision.plane == PlaneKind::kHybrid && options_.plan == "hierarchical") {
    const HybridPlane::Host host{domain_.get(), hybrid_staging_, shm_pairs_.get(), 2 * options_.window};
    Result<std::unique_ptr<HybridPlane>> plane =
        HybridPlane::open(host, *links_, net_staging_, decision.view, self, config, bad_peer);
    if (!plane) return plane.error();
    return std::shared_ptr<Plane>(std::move(*plane));
  }
  Result<std::unique_ptr<NetPlane>> plane = NetPlane::open(*links_, net_staging_, decision.view, self, config);
  if (!plane) return plane.error();
  return std::shared_ptr<Plane>(std::move(*plane));
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
    post(Parked{});
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

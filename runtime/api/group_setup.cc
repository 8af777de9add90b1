// How a member begins: it finds the coordinator, opens what others reach it by, measures its machine and joins.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/clock.h"
#include "ft/driver/coordinator_process.h"
#include "runtime/api/group_impl.h"
#include "runtime/topo/measure.h"
#include "transport/ucx/ucx.h"
#include "transport/wire/address.h"
#include "transport/wire/frame.h"

namespace regroup {

// Members with equal ones share memory and see each other die.
std::uint64_t GroupImpl::locality() const {
  return options_.host_id.empty() ? wire::host_locality() : std::max<std::uint64_t>(wire::group_hash("host " + options_.host_id), 1);
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
  for (const StateBuffer& b : options_.state)
    text += " state." + b.name + "=" + std::to_string(b.bytes) + ":" + state::describe({b.name, b.type, b.shape, b.bytes});
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
  if (options_.transport == "ucx") {
    const auto scope = stage_ ? stage_->device()->scope() : nullptr;  // UCX asks which device is the thread's
    Result<std::shared_ptr<tcp::Lanes>> lanes = ucx::open_lanes(wire::group_hash(options_.group), data_host_, options_.ucx_rails);
    if (!lanes) return lanes.error();
    links.lanes = std::move(*lanes);
  }
  Result<std::unique_ptr<tcp::LinkSet>> listening = tcp::LinkSet::listen(std::move(links));
  if (!listening) return listening.error();
  links_ = std::move(*listening);
  if (Status s = open_port(); !s) return s;
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
    holder.share = options_.catch_up_share;
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
  const Instant until = deadline(options_.join_timeout_s);
  if (Status s = options_.validate(); !s) return s;
  if (Status s = failpoints_.arm(options_.failpoints); !s) return s;
  recorder_.set_label("group=" + options_.group + " rank=" + std::to_string(options_.rank));
  if (!options_.trace_file.empty())
    if (Status s = recorder_.trace_to(trace_path(options_.trace_file, options_.rank)); !s) return s;
  if (Status s = open_device(); !s) return s;
  if (options_.transport == "nccl")
    if (Status s = find_nccl(); !s) return s;
  if (options_.transport == "auto" || options_.transport == "shm") {
    Result<std::unique_ptr<shm::Domain>> domain = shm::Domain::create(inc_, 2 * options_.window, options_.small_bytes, &failpoints_);
    if (!domain && (options_.transport == "shm" || domain.code() == Code::kNoMemory)) return domain.error();
    if (domain) {
      domain_ = std::move(*domain);
      shm_pairs_ = std::make_unique<ShmPairs>(*domain_, static_cast<std::size_t>(options_.world_size), options_.staging_bytes);
    }
  }
  if (Status s = take_seat(); !s) return s;
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

}  // namespace regroup

#include "transport/ucx/lanes.h"

#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "base/rng.h"
#include "transport/tcp/handshake.h"
#include "transport/ucx/conn.h"

namespace regroup::ucx {
namespace {

constexpr int kTurns = 16;         // of progress in one call, while there is some
constexpr Duration kSettling = Duration::from_ms(20);  // for connections that are being made when an epoch ends
constexpr int kClosingTurns = 64;  // of progress for endpoints that close

bool numeric_host(const std::string& host, sockaddr_storage& at) {
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), "0", &hints, &found) != 0 || found == nullptr) return false;
  std::memcpy(&at, found->ai_addr, found->ai_addrlen);
  ::freeaddrinfo(found);
  return true;
}

socklen_t size_of(const sockaddr_storage& at) { return at.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in); }

// UCX says it only in what it prints: what the context's transports are called, with their devices.
std::vector<std::string> transports(const Api& api, ucp_context_h context) {
  std::istringstream text(printed([&](std::FILE* stream) { api.ucp_context_print_info(context, stream); }));
  std::vector<std::string> found;
  for (std::string line; std::getline(text, line);)  // "... resource 3 : md 1 dev 2 flags -- rc_mlx5/mlx5_0:1"
    if (line.find("resource ") != std::string::npos && line.find('/') != std::string::npos) found.push_back(line.substr(line.rfind(' ', line.find('/')) + 1));
  return found;
}

bool has_network(const Api& api, ucp_context_h context) {
  const std::vector<std::string> all = transports(api, context);
  return std::any_of(all.begin(), all.end(), [](const std::string& t) {
    const std::string device = t.substr(t.find('/') + 1);
    return !device.starts_with("memory") && !device.starts_with("cuda");
  });
}

tcp::Reach reach_of(const Api& api, ucp_context_h context) {
  ucp_context_attr_t attributes{};
  attributes.field_mask = UCP_ATTR_FIELD_MEMORY_TYPES;
  if (api.ucp_context_query(context, &attributes) != UCS_OK) return tcp::Reach::kNone;
  if ((attributes.memory_types & UCS_BIT(UCS_MEMORY_TYPE_CUDA)) == 0) return tcp::Reach::kNone;
  const std::vector<std::string> all = transports(api, context);
  const bool rdma = std::any_of(all.begin(), all.end(), [](const std::string& t) { return t.starts_with("rc_") || t.starts_with("dc_"); });
  return rdma ? tcp::Reach::kDirect : tcp::Reach::kCopied;
}

}  // namespace

Result<std::shared_ptr<tcp::Lanes>> open_lanes(std::uint64_t group, const std::string& host, std::uint32_t rails) {
  return UcxLanes::open(group, host, rails);
}

Result<std::shared_ptr<tcp::Lanes>> UcxLanes::open(std::uint64_t group, const std::string& host, std::uint32_t rails) {
  const Result<const Api*> loaded = load();
  if (!loaded) return loaded.error();
  const Api& api = **loaded;
  ucp_config_t* config = nullptr;
  ucs_status_t status = api.ucp_config_read(nullptr, nullptr, &config);
  if (status == UCS_OK) {
    status = api.ucp_config_modify(config, "RNDV_SCHEME", "get_zcopy");  // nobody writes into a peer's buffers
    // UCX 1.13 aborts (uct_iface.h: comp->count > 0) when a connection over TCP breaks under a send that it does not copy.
    if (status == UCS_OK) status = api.ucp_config_modify(config, "ZCOPY_THRESH", "inf");
    for (const char* limit : {"MAX_EAGER_RAILS", "MAX_RNDV_RAILS"})
      if (status == UCS_OK && rails != 0) status = api.ucp_config_modify(config, limit, std::to_string(rails).c_str());
    ucp_params_t params{};
    params.field_mask = UCP_PARAM_FIELD_FEATURES;
    params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
    ucp_context_h context = nullptr;
    if (status == UCS_OK) status = api.ucp_init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config, &context);
    api.ucp_config_release(config);
    if (status == UCS_OK) {
      std::shared_ptr<UcxLanes> lanes(new UcxLanes(api, group, context));
      if (!numeric_host(host, lanes->host_)) return {Code::kConfig, "transport ucx: '" + host + "' is not an address"};
      lanes->begin(0);  // is there a transport at all?
      lanes->end();
      if (lanes->trouble().empty()) return std::shared_ptr<tcp::Lanes>(std::move(lanes));
      return {Code::kUnsupported, "transport ucx: " + lanes->trouble()};
    }
  }
  return {Code::kUnsupported, std::string("transport ucx: no UCX context: ") + api.ucs_status_string(status) + " (UCX_TLS, UCX_NET_DEVICES)"};
}

UcxLanes::UcxLanes(const Api& api, std::uint64_t group, ucp_context_h context)
    : api_(api), group_(group), context_(context), network_(has_network(api, context)), reach_(reach_of(api, context)) {}

UcxLanes::~UcxLanes() {
  end();
  drop_retired();
  if (!kept_) api_.ucp_cleanup(context_);
}

std::unique_ptr<tcp::Conn> UcxLanes::attach(std::unique_ptr<tcp::Conn> socket) {
  return std::make_unique<Conn>(*this, std::move(socket));
}

void UcxLanes::begin(Epoch epoch) {
  end();
  epoch_ = epoch;
  trouble_.clear();
  if (const ucs_status_t status = start(); status != UCS_OK) {
    trouble_ = std::string("no UCX worker: ") + api_.ucs_status_string(status);
    log::warn("ucx", "why=\"" + trouble_ + "\"");
    end();
  }
}

ucs_status_t UcxLanes::start() {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  ucs_status_t status = api_.ucp_worker_create(context_, &params, &worker_);
  if (status != UCS_OK) return worker_ = nullptr, status;
  ucp_am_handler_param_t handler{};
  handler.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG |
                       UCP_AM_HANDLER_PARAM_FIELD_FLAGS;
  handler.id = kMessage;
  handler.flags = UCP_AM_FLAG_PERSISTENT_DATA;  // the bytes are ours until we let them go
  handler.cb = &on_message;
  handler.arg = this;
  status = api_.ucp_worker_set_am_recv_handler(worker_, &handler);
  if (status != UCS_OK) return status;
  if (api_.ucp_worker_get_efd(worker_, &fd_) != UCS_OK) fd_ = -1;  // then sleeps are short: see arm()
  if (network_) return listen();
  ucp_address_t* address = nullptr;
  std::size_t bytes = 0;
  status = api_.ucp_worker_get_address(worker_, &address, &bytes);
  if (status != UCS_OK) return status;
  const auto* at = reinterpret_cast<const std::byte*>(address);
  address_.assign(at, at + bytes);
  api_.ucp_worker_release_address(worker_, address);
  return UCS_OK;
}

void UcxLanes::end() {
  if (worker_ == nullptr) return;
  drop_retired();
  for (auto& [key, lane] : lanes_) lane->abandon();
  const bool settled = settle();
  ending_ = true;
  ucp_request_param_t force{};
  force.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  force.flags = UCP_EP_CLOSE_FLAG_FORCE;
  for (ucp_ep_h ep : eps_) {
    void* request = network_ ? api_.ucp_ep_close_nbx(ep, &force) : nullptr;  // without a failure handler the worker has to do it
    if (UCS_PTR_IS_PTR(request)) api_.ucp_request_free(request);
  }
  for (int i = 0; i < kClosingTurns && api_.ucp_worker_progress(worker_) != 0; ++i) {
  }
  eps_.clear();
  ending_ = false;
  fd_ = -1;
  retired_ = {std::exchange(worker_, nullptr), std::exchange(listener_, nullptr), std::exchange(lanes_, {}), {}};
  if (network_ && settled) drop_retired();
}

void UcxLanes::drop_retired() {
  const auto owes = [](const auto& lane) { return lane.second->owes(); };
  if (std::any_of(retired_.lanes.begin(), retired_.lanes.end(), owes)) keep_retired();
  if (retired_.listener != nullptr) api_.ucp_listener_destroy(retired_.listener);
  if (retired_.worker != nullptr) api_.ucp_worker_destroy(retired_.worker);
  retired_ = {};
}

// UCX 1.13 aborts (ucp_request.c:684) where a worker ends while what it has to say about connections waits for room at a peer, and
// at one that is gone there never is any. So such a worker stays, untouched, as long as the process.
void UcxLanes::keep_retired() {
  static std::mutex mutex;
  static auto& all = *new std::vector<Retired>;
  const std::lock_guard lock(mutex);
  all.push_back(std::exchange(retired_, {}));
  kept_ = true;
  log::warn("ucx", "kept=" + std::to_string(all.size()) + " why=\"a word to a peer waits for room there\"");
}

bool UcxLanes::late() const {
  return std::any_of(retired_.lanes.begin(), retired_.lanes.end(), [](const auto& lane) { return lane.second->late(); });
}

void UcxLanes::keep(std::shared_ptr<void> memory) {
  if (retired_.worker != nullptr) retired_.memory.push_back(std::move(memory));
}

// UCX 1.13 does not bear the end of a worker to which, or from which, a connection is being made. Over TCP its own thread goes
// on to use what is freed, or the other end aborts ("!(ep->flags & UCT_TCP_EP_FLAG_CTX_TYPE_TX)"); over posix the other end
// maps whatever file has got the descriptor's number (SIGBUS). So connections are made first; where that takes too long the
// worker is retired.
bool UcxLanes::settle() {
  const auto connecting = [this] {
    return std::any_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane.second->connecting() || lane.second->owes(); });
  };
  for (const Instant until = now() + kSettling; connecting() && now() < until; knock())
    if (api_.ucp_worker_progress(worker_) == 0) std::this_thread::yield();
  for (auto& [key, lane] : lanes_) lane->part();
  return !connecting();
}

bool UcxLanes::progress() {
  if (worker_ == nullptr) return false;
  knock();
  int turns = 0;
  while (turns < kTurns && api_.ucp_worker_progress(worker_) != 0) ++turns;
  return turns != 0;
}

void UcxLanes::knock() {
  if (!std::exchange(knocking_, false)) return;
  for (auto& [key, lane] : lanes_) knocking_ |= !lane->knock();
}

bool UcxLanes::arm() { return worker_ == nullptr || (!knocking_ && fd_ >= 0 && api_.ucp_worker_arm(worker_) == UCS_OK); }

Lane* UcxLanes::lane() {
  if (worker_ == nullptr) return nullptr;
  wire::Frame marker;
  marker.type = tcp::kProbe;
  marker.group = group_;
  marker.epoch = epoch_;
  wire::fill(marker, {});
  const std::uint64_t key = random_u64();
  std::unique_ptr<Lane>& lane = lanes_[key];
  lane = std::make_unique<Lane>(api_, worker_, key, marker, !network_, reach_ != tcp::Reach::kNone);
  return lane.get();
}

// --- endpoints ---

ucs_status_t UcxLanes::listen() {
  ucp_listener_params_t params{};
  params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
  params.sockaddr = {reinterpret_cast<const sockaddr*>(&host_), size_of(host_)};
  params.conn_handler = {&on_connection, this};
  ucs_status_t status = api_.ucp_listener_create(worker_, &params, &listener_);
  if (status != UCS_OK) return listener_ = nullptr, status;
  ucp_listener_attr_t attributes{};
  attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
  status = api_.ucp_listener_query(listener_, &attributes);
  if (status != UCS_OK) return status;
  const auto* at = reinterpret_cast<const std::byte*>(&attributes.sockaddr);
  address_.assign(at, at + sizeof attributes.sockaddr);
  return UCS_OK;
}

ucs_status_t UcxLanes::make(ucp_ep_params_t& params, ucp_ep_h& ep) {
  params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.err_mode = network_ ? UCP_ERR_HANDLING_MODE_PEER : UCP_ERR_HANDLING_MODE_NONE;
  params.err_handler = {&on_error, this};
  const ucs_status_t status = api_.ucp_ep_create(worker_, &params, &ep);
  if (status == UCS_OK) eps_.push_back(ep);
  return status;
}

void UcxLanes::connect(Lane& lane, std::span<const std::byte> address, std::uint64_t key) {
  lane.meet(key);
  if (network_ && lane.key() > key) return;  // the peer does
  sockaddr_storage to{};
  ucp_ep_params_t params{};
  if (network_) {
    if (address.size() != sizeof to) return lane.lose(), lane.fail(UCS_ERR_INVALID_ADDR);
    std::memcpy(&to, address.data(), sizeof to);
    params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
    params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
    params.sockaddr = {reinterpret_cast<const sockaddr*>(&to), size_of(to)};
  } else {
    params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS;
    params.address = reinterpret_cast<const ucp_address_t*>(address.data());
  }
  ucp_ep_h ep = nullptr;
  if (const ucs_status_t status = make(params, ep); status != UCS_OK) return lane.lose(), lane.fail(status);
  lane.use(ep);
  lane.greet();
  knocking_ = true;
}

void UcxLanes::on_connection(ucp_conn_request_h request, void* self) {
  auto* lanes = static_cast<UcxLanes*>(self);
  if (lanes->ending_) return (void)lanes->api_.ucp_listener_reject(lanes->listener_, request);
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST;
  params.conn_request = request;
  ucp_ep_h ep = nullptr;
  (void)lanes->make(params, ep);  // whose it is says its first message; a failure is the other end's too
}

void UcxLanes::on_error(void* self, ucp_ep_h ep, ucs_status_t status) {
  for (auto& [key, lane] : static_cast<UcxLanes*>(self)->lanes_)
    if (lane->ep() == ep) lane->lose(), lane->fail(status);
}

ucs_status_t UcxLanes::on_message(void* at, const void* head, std::size_t head_bytes, void* data, std::size_t length,
                                  const ucp_am_recv_param_t* param) {
  auto* self = static_cast<UcxLanes*>(at);
  auto& lanes = self->lanes_;
  if (head_bytes == kKnockBytes) {
    const auto lane = lanes.find(Reader({static_cast<const std::byte*>(head), head_bytes}).u64());
    if (lane != lanes.end()) lane->second->hear_knock();
    return UCS_OK;
  }
  if (head_bytes != kHeadBytes) return UCS_OK;
  const Head h = decode_head(static_cast<const std::byte*>(head));
  const auto lane = lanes.find(h.key);
  if (lane == lanes.end()) {
    for (auto& [key, other] : lanes)
      if (other->answers(h.key)) other->hear(nullptr);
    return UCS_OK;
  }
  ucp_ep_h by = (param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) != 0 ? param->reply_ep : nullptr;
  if (self->network_ && lane->second->ep() == nullptr && by != nullptr) {
    lane->second->use(by);
    lane->second->answer();
  }
  lane->second->hear(by);
  return lane->second->take(h, data, length, param->recv_attr);
}

}  // namespace regroup::ucx

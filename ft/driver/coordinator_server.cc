#include "ft/driver/coordinator_server.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "ft/driver/codec.h"
#include "ft/driver/coordinator_state.h"
#include "ft/driver/death_watch.h"
#include "ft/driver/json_depth.h"
#include "ft/driver/net.h"
#include "transport/wire/address.h"
#include "transport/wire/frame.h"

namespace regroup {
namespace {

constexpr std::size_t kMaxStatusDepth = 16;

bool anyone_lives_here(const Decision& decision) {
  return std::any_of(decision.view.members.begin(), decision.view.members.end(), [](const MemberInfo& m) {
    auto address = wire::decode_address(m.address);
    return address.ok() && !address->death_socket.empty() &&
           lives_here(m.inc, address->death_socket, Duration::from_ms(200));
  });
}

// Autostart: a log whose members are all gone belongs to a job that is over; its history cannot be continued. One
// without a view is kept: those who wait for the first one know its id.
Result<ViewLog> adopt(const CoordinatorOptions& options) {
  if (::access(options.log_file.c_str(), F_OK) == 0) {
    auto log = ViewLog::open(options.log_file, options.group);
    if (!log || !log->last() || anyone_lives_here(*log->last())) return log;
    if (::unlink(options.log_file.c_str()) != 0)  // while we hold its lock
      return net::system_error("cannot remove the view log " + options.log_file, errno);
  }
  remove_subgroup_logs(options.log_file);
  return ViewLog::create(options.log_file, options.group);
}

Result<ViewLog> log_for(const CoordinatorOptions& options) {
  switch (options.log) {
    case CoordinatorOptions::Log::kCreate: return ViewLog::create(options.log_file, options.group);
    case CoordinatorOptions::Log::kAdopt: return adopt(options);
    case CoordinatorOptions::Log::kOpen: break;
  }
  return ViewLog::open(options.log_file, options.group);
}

}  // namespace

Result<std::unique_ptr<CoordinatorServer>> CoordinatorServer::open(CoordinatorOptions options) {
  if (options.group.empty() || options.group.size() > wire::kMaxGroupBytes)
    return {Code::kConfig, "a group's name has 1 to 255 bytes"};
  if (options.secret.size() > wire::kMaxSecretBytes) return {Code::kConfig, "the secret is over 4096 bytes"};
  auto where = net::parse_host_port(options.listen);
  if (!where) return where.error();
  auto listener = net::listen_tcp(*where);
  if (!listener) return listener.error();
  auto log = log_for(options);
  if (!log) return log.error();
  Fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return net::system_error("eventfd", errno);
  auto impl = std::make_unique<Impl>(std::move(options), std::move(*log), std::move(*listener), std::move(wake));
  return std::unique_ptr<CoordinatorServer>(new CoordinatorServer(std::move(impl)));
}

CoordinatorServer::CoordinatorServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CoordinatorServer::~CoordinatorServer() = default;
Status CoordinatorServer::run() { return impl_->run(); }
void CoordinatorServer::stop() { impl_->stop(); }
bool CoordinatorServer::all_lost() const { return impl_->all_lost(); }
const std::string& CoordinatorServer::address() const { return impl_->address; }
LogId CoordinatorServer::log_id() const { return impl_->log_id(); }
CoordinatorServer::Counters CoordinatorServer::counters() const {
  return {impl_->accepted.load(), impl_->bad_messages.load(), impl_->refused.load()};
}

void CoordinatorServer::Impl::stop() {
  stop_.store(true, std::memory_order_release);
  wake();
}

void CoordinatorServer::Impl::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);
}

void CoordinatorServer::Impl::on_wake() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t n = ::read(wake_.get(), &count, sizeof count);
  root_.on_wake();
  for (auto& [name, group] : subgroups_) group->on_wake();
}

Status CoordinatorServer::Impl::run() {
  if (Status s = poller_.open(); !s) return s;
  if (Status s = poller_.add(wake_.get(), EPOLLIN, [this](std::uint32_t) { on_wake(); }); !s) return s;
  if (Status s = poller_.add(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_all(); }); !s) return s;
  next_tick_ = now() + options_.tick;
  root_.event("started log=" + std::to_string(root_.log_id()) +
              (root_.cut_torn_record() ? " (a torn record was cut off)" : ""));
  while (!stop_.load(std::memory_order_acquire) && failure().ok() && !over()) {
    const std::int64_t wait_ms = std::clamp<std::int64_t>((next_tick_ - now()).ns / 1'000'000 + 1, 0, 1000);
    // The sockets are drained before anybody is judged: what arrived while we slept counts as heard.
    bool more = poller_.wait(static_cast<int>(wait_ms));
    for (int i = 0; more && i < 100; ++i) more = poller_.wait(0);
    if (now() < next_tick_) continue;
    next_tick_ = now() + options_.tick;
    enforce_deadlines();
    tick_groups();
  }
  for (auto& [fd, c] : connections_) (void)c->channel.flush();
  return failure();
}

Status CoordinatorServer::Impl::failure() const {
  for (const auto& [name, group] : subgroups_)
    if (!group->failure().ok()) return group->failure();
  return root_.failure();
}

bool CoordinatorServer::Impl::over() {
  if (options_.exit_when_lost && root_.all_dead()) {
    root_.event("all members have died: ending");
    return true;
  }
  Duration deserted = root_.deserted();
  for (const auto& [name, group] : subgroups_) deserted = std::min(deserted, group->deserted());
  const bool left = options_.exit_when_left && root_.left() && deserted > Duration::from_ms(500);
  const bool idle = options_.idle_exit.ns > 0 && deserted > options_.idle_exit;
  if (!left && !idle) return false;
  root_.event(left ? "everybody has left: ending" : "nobody was connected for long: ending");
  if (!options_.remove_log_at_end) return true;
  ::unlink(options_.log_file.c_str());
  remove_subgroup_logs(options_.log_file);
  return true;
}

void CoordinatorServer::Impl::accept_all() {
  for (int i = 0; i < 64; ++i) {
    auto fd = net::accept_one(listener_.get());
    if (!fd) {
      if (fd.code() != Code::kUnavailable) root_.event(fd.error().detail);
      return;
    }
    accepted.fetch_add(1, std::memory_order_relaxed);
    if (connections_.size() >= options_.max_connections) {
      refused.fetch_add(1, std::memory_order_relaxed);
      continue;  // closed by its owner here
    }
    const int n = fd->get();
    auto c = std::make_unique<Connection>(
        std::move(*fd), group_hash_, wire::AuthServer(options_.group, options_.secret, wire::random_nonce(), true));
    c->channel.set_max_frame(wire::kMaxAuthBytes);
    c->deadline = now() + options_.hello_deadline;
    if (!poller_.add(n, EPOLLIN, [this, n](std::uint32_t events) { on_socket(n, events); })) continue;
    connections_[n] = std::move(c);
  }
}

void CoordinatorServer::Impl::on_socket(int fd, std::uint32_t events) {
  Connection& c = *connections_.at(fd);
  Status status = events & EPOLLOUT ? c.channel.flush() : Status{};
  if (status.ok() && (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
    status = c.channel.receive([&](ControlFrame type, std::span<const std::byte> payload) {
      return c.closing ? Status{} : on_frame(c, type, payload);
    });
  if (!connections_.contains(fd)) return;  // replaced or refused on the way
  if (!status && status.code() == Code::kRefused && !c.closing) {
    bad_messages.fetch_add(1, std::memory_order_relaxed);
    root_.event("bad message from " + (c.who ? "member " + to_string(c.id) : std::string("a stranger")) + ": " +
          status.error().detail);
    if (!c.auth.done()) send(c, ControlFrame::kAuth, wire::auth_reject(status.error().detail));
    close_softly(c);
    return;
  }
  if (!status) return close(fd, status);
  if (c.closing && !c.channel.wants_write()) ::shutdown(fd, SHUT_WR);
  poller_.change(fd, EPOLLIN | (c.channel.wants_write() ? EPOLLOUT : 0u));
}

Status CoordinatorServer::Impl::on_auth(Connection& c, std::span<const std::byte> payload) {
  wire::AuthStep step = c.auth.on(payload);
  if (!step.status) return step.status;  // the refusal is sent where all are
  if (c.auth.done()) c.channel.set_max_frame(kMaxControlBytes);
  if (c.auth.done() && !c.auth.peer_group().empty()) c.channel.set_group(wire::group_hash(c.auth.peer_group()));
  return c.channel.send(ControlFrame::kAuth, step.reply);
}

Status CoordinatorServer::Impl::on_frame(Connection& c, ControlFrame type, std::span<const std::byte> payload) {
  if (!c.auth.done()) {
    if (type == ControlFrame::kAuth) return on_auth(c, payload);
    return {Code::kRefused, "a message before the handshake"};
  }
  switch (type) {
    case ControlFrame::kToCoordinator: return on_message(c, payload);
    case ControlFrame::kDeath:
      if (CoordinatorGroup* group = known_group(c.auth.peer_group()))
        if (Status status = group->on_death(payload); !status) return status;
      send(c, ControlFrame::kDeath, {});
      return {};
    case ControlFrame::kStatus: {
      const std::string text = status_json(c);
      send(c, ControlFrame::kStatus, std::as_bytes(std::span(text)));
      return {};
    }
    case ControlFrame::kMemberStatus:
      if (payload.size() > (16u << 10)) return {Code::kRefused, "status over 16 KiB"};
      c.status.assign(reinterpret_cast<const char*>(payload.data()), payload.size());
      if (json_depth(c.status) > kMaxStatusDepth) return c.status.clear(), Status{Code::kRefused, "status nested too deeply"};
      return {};
    default: return {Code::kRefused, "unknown frame type " + std::to_string(static_cast<int>(type))};
  }
}

// A peer that does not read is closed by the deadline that enforce_deadlines keeps, not here: callers hold references.
void CoordinatorServer::Impl::send(Connection& c, ControlFrame type, std::span<const std::byte> payload) {
  if (Status status = c.channel.send(type, payload); !status) {
    c.closing = true;
    c.deadline = now();
  }
  poller_.change(c.channel.fd(), EPOLLIN | (c.channel.wants_write() ? EPOLLOUT : 0u));
}

// Lets the last words arrive: closing with unread input would reset the connection and lose them.
void CoordinatorServer::Impl::close_softly(Connection& c) {
  if (c.closing) return;
  c.closing = true;
  c.deadline = now() + Duration::from_ms(1000);
  if (!c.channel.wants_write()) ::shutdown(c.channel.fd(), SHUT_WR);
  if (c.who) c.group->lost(c);
}

void CoordinatorServer::Impl::close(int fd, const Status& why) {
  auto it = connections_.find(fd);
  if (it == connections_.end()) return;
  const std::unique_ptr<Connection> gone = std::move(it->second);
  poller_.remove(fd);
  connections_.erase(it);
  if (!gone->who) return;
  gone->group->event("lost member " + to_string(gone->id) + ": " + why.error().detail);
  gone->group->lost(*gone);
}

void CoordinatorServer::Impl::enforce_deadlines() {
  std::vector<int> late;
  for (const auto& [fd, c] : connections_)
    if ((c->closing || !c->who) && now() >= c->deadline) late.push_back(fd);
  for (const int fd : late) {
    if (!connections_.at(fd)->closing) refused.fetch_add(1, std::memory_order_relaxed);
    close(fd, {Code::kTimeout, "it does not read, or did not say who it is"});
  }
}

}  // namespace regroup

#include "ft/driver/coordinator_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "ft/driver/codec.h"
#include "transport/wire/frame.h"

namespace regroup {
namespace {

constexpr Duration kMaxTickGap = Duration::from_ms(200);  // more is a pause of ours: not held against the peer

}  // namespace

CoordinatorLink::CoordinatorLink(Poller& poller, LinkOptions options, Handlers handlers)
    : poller_(poller),
      options_(std::move(options)),
      handlers_(std::move(handlers)),
      backoff_(options_.reconnect_min),
      jitter_(random_u64()) {
  trouble_ = "no connection to the coordinator at " + options_.where + " yet";
}

CoordinatorLink::~CoordinatorLink() { disconnect(); }

void CoordinatorLink::tick(Instant now) {
  const Duration ran = last_tick_.ns == 0 ? Duration{} : std::min(now - last_tick_, kMaxTickGap);
  last_tick_ = now;
  if (state_ == State::kDown) {
    if (now >= next_try_) connect(now);
    return;
  }
  quiet_ = quiet_ + ran;
  if (quiet_ > options_.silence)
    drop("the coordinator at " + options_.where + " does not answer", options_.reconnect_min);
}

void CoordinatorLink::connect(Instant now) {
  const net::Address& to = options_.addresses[next_address_++ % options_.addresses.size()];
  quiet_ = {};
  // A little disorder, so that the members of a job do not all come in the same millisecond.
  const auto spread = static_cast<std::int64_t>(jitter_.below(static_cast<std::uint64_t>(backoff_.ns) / 4 + 1));
  next_try_ = now + backoff_ + Duration{spread};
  backoff_ = std::min(backoff_ * 2, options_.reconnect_max);
  auto fd = net::begin_connect(to);
  if (!fd) return fail(fd.error());
  state_ = State::kConnecting;
  channel_ = std::make_unique<Channel>(std::move(*fd), wire::group_hash(options_.group));
  const int n = channel_->fd();
  if (Status s = poller_.add(n, EPOLLOUT, [this](std::uint32_t events) { on_socket(events); }); !s) fail(s);
}

void CoordinatorLink::on_connected() {
  nobody_there_ = 0;
  // A cut that nobody answers ends the connection soon, also when it is the kernel that waits.
  const auto bound_ms = static_cast<unsigned>(options_.silence.ms());
  ::setsockopt(channel_->fd(), IPPROTO_TCP, TCP_USER_TIMEOUT, &bound_ms, sizeof bound_ms);
  state_ = State::kHandshake;
  auth_.emplace(options_.group, options_.secret, wire::random_nonce());
  channel_->set_max_frame(wire::kMaxAuthBytes);
  if (Status s = channel_->send(ControlFrame::kAuth, auth_->open()); !s) return fail(s);
  update_interest();
}

void CoordinatorLink::on_socket(std::uint32_t events) {
  if (state_ == State::kConnecting) {
    if (Status s = net::finish_connect(channel_->fd()); !s) {
      ++nobody_there_;
      return fail(s);
    }
    return on_connected();
  }
  Status status = events & EPOLLOUT ? channel_->flush() : Status{};
  if (status.ok() && (events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0)
    status = channel_->receive(
        [this](ControlFrame type, std::span<const std::byte> payload) { return on_frame(type, payload); });
  deliver();  // what came whole before an error still counts
  if (!status && channel_) return fail(status);
  if (channel_) update_interest();
}

// Handlers may drop this link: they run when nobody is inside the channel.
void CoordinatorLink::deliver() {
  std::vector<ToMember> batch = std::move(inbox_);
  inbox_.clear();
  for (ToMember& m : batch)
    if (state_ == State::kUp) handlers_.message(std::move(m));
}

Status CoordinatorLink::on_frame(ControlFrame type, std::span<const std::byte> payload) {
  quiet_ = {};
  if (type == ControlFrame::kAuth && state_ == State::kHandshake) return on_auth(payload);
  if (state_ != State::kUp) return {Code::kRefused, "a message before the handshake"};
  if (type == ControlFrame::kAlive) return {};
  if (type != ControlFrame::kToMember) return {Code::kRefused, "unknown frame type"};
  auto message = decode_to_member(payload);
  if (!message) return message.error();
  inbox_.push_back(std::move(*message));
  return {};
}

Status CoordinatorLink::on_auth(std::span<const std::byte> payload) {
  wire::AuthStep step = auth_->on(payload);
  if (!step.status) return step.status;
  if (!step.reply.empty()) return channel_->send(ControlFrame::kAuth, step.reply);
  channel_->set_max_frame(kMaxControlBytes);
  state_ = State::kUp;
  ++connects_;
  backoff_ = options_.reconnect_min;
  trouble_.clear();
  log::debug("coordinator_connected", "at=" + options_.where);
  handlers_.changed(true);
  return {};
}

void CoordinatorLink::send(const ToCoordinator& message) {
  if (state_ != State::kUp) return;
  // A failure shows at the next event of the socket: nothing is called back from here.
  if (!channel_->send(ControlFrame::kToCoordinator, encode(message))) ::shutdown(channel_->fd(), SHUT_RDWR);
  update_interest();
}

void CoordinatorLink::send_status(const std::string& json) {
  if (state_ != State::kUp || congested() || json.size() > (16u << 10)) return;
  if (!channel_->send(ControlFrame::kMemberStatus, std::as_bytes(std::span(json))))
    ::shutdown(channel_->fd(), SHUT_RDWR);
  update_interest();
}

void CoordinatorLink::update_interest() {
  poller_.change(channel_->fd(), EPOLLIN | (channel_->wants_write() ? EPOLLOUT : 0u));
}

void CoordinatorLink::fail(const Status& status) {
  const bool handshake = state_ == State::kHandshake;
  const std::string why = "coordinator at " + options_.where + ": " + status.error().detail;
  if (status.code() == Code::kRefused) ++bad_messages_;
  drop(why, {});
  if (handshake && status.code() == Code::kRefused) handlers_.refused(Refuse{Code::kRefused, why});
}

void CoordinatorLink::drop(const std::string& why, Duration pause) {
  if (trouble_ != why) log::debug("coordinator_lost", why);
  trouble_ = why;
  const bool was_up = state_ == State::kUp;
  disconnect();
  next_try_ = std::max(next_try_, now() + pause);
  if (was_up) handlers_.changed(false);
}

void CoordinatorLink::disconnect() {
  if (channel_) poller_.remove(channel_->fd());
  channel_.reset();
  auth_.reset();
  inbox_.clear();
  state_ = State::kDown;
}

void CoordinatorLink::flush(Duration bound) {
  const Instant until = now() + bound;
  while (channel_ && channel_->wants_write() && now() < until) {
    pollfd p{channel_->fd(), POLLOUT, 0};
    ::poll(&p, 1, 10);
    if (!channel_->flush()) return;
  }
}

}  // namespace regroup

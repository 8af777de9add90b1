#include "runtime/state/stream.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "ft/driver/net.h"
#include "transport/wire/auth.h"

namespace regroup::state {

Result<Fd> connect_to(const std::string& host, std::uint16_t port, Instant deadline) {
  Result<std::vector<net::Address>> address = net::resolve({host, port});
  if (!address) return address.error();
  Result<Fd> connection = net::begin_connect(address->front());
  if (!connection) return connection.error();
  pollfd p{connection->get(), POLLOUT, 0};
  ::poll(&p, 1, static_cast<int>(std::clamp<std::int64_t>((deadline - now()).ns / 1'000'000, 0, 2000)));
  if (Status s = net::finish_connect(connection->get()); !s) return s.error();
  return connection;
}

Stream::Stream(Fd fd, std::string group, std::string secret, Instant deadline, const std::atomic<bool>* stop)
    : fd_(std::move(fd)), group_(std::move(group)), secret_(std::move(secret)), deadline_(deadline), stop_(stop) {}

Status Stream::wait(short events) {
  for (;;) {
    if (stop_ != nullptr && stop_->load()) return {Code::kClosed, "state transfer was stopped"};
    const Duration left = deadline_ - now();
    if (left.ns <= 0) return {Code::kTimeout, "state transfer: the deadline passed"};
    pollfd p{fd_.get(), events, 0};
    const int ready = ::poll(&p, 1, static_cast<int>(std::min<std::int64_t>(left.ns / 1'000'000 + 1, 50)));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return {Code::kSystem, std::string("state transfer: poll: ") + std::strerror(errno)};
  }
}

Status Stream::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), std::min<std::size_t>(bytes.size(), 256 << 10), MSG_NOSIGNAL);
    if (n > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (Status s = wait(POLLOUT); !s) return s;
    } else {
      return {Code::kUnavailable, std::string("state transfer: the connection ended: ") + std::strerror(errno)};
    }
  }
  return {};
}

Status Stream::read_all(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (n > 0) {
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    } else if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      if (Status s = wait(POLLIN); !s) return s;
    } else {
      return {Code::kUnavailable, "state transfer: the connection ended"};
    }
  }
  return {};
}

Status Stream::send(wire::Frame frame, std::span<const std::byte> payload) {
  frame.group = wire::group_hash(group_);
  wire::fill(frame, payload);
  wire::HeaderBytes header;
  wire::encode(frame, header);
  if (Status s = write_all(header); !s) return s;
  return write_all(payload);
}

Result<wire::Frame> Stream::receive_header() {
  wire::HeaderBytes header;
  if (Status s = read_all(header); !s) return s.error();
  Result<wire::Frame> frame = wire::decode(header);
  if (frame && frame->group != wire::group_hash(group_)) return Error{Code::kRefused, "state transfer: another group's frame"};
  return frame;
}

Status Stream::receive_payload(const wire::Frame& frame, std::span<std::byte> into) {
  if (into.size() != frame.length) return {Code::kRefused, "state transfer: a frame of unexpected length"};
  if (Status s = read_all(into); !s) return s;
  if (wire::checksum(into) != frame.payload_sum) return {Code::kRefused, "state transfer: a chunk's checksum differs"};
  return {};
}

Result<std::vector<std::byte>> Stream::expect(std::uint16_t type, wire::Frame& frame, std::size_t max_bytes) {
  Result<wire::Frame> got = receive_header();
  if (!got) return got.error();
  frame = *got;
  if (frame.length > max_bytes) return Error{Code::kRefused, "state transfer: a frame over its bound"};
  std::vector<std::byte> payload(frame.length);
  if (Status s = receive_payload(frame, payload); !s) return s.error();
  if (frame.type == kFailed)
    return Error{Code::kUnavailable, "source: " + std::string(reinterpret_cast<const char*>(payload.data()), payload.size())};
  if (frame.type != type) return Error{Code::kRefused, "state transfer: unexpected frame type " + std::to_string(frame.type)};
  return payload;
}

Status Stream::open_as_client() {
  wire::AuthClient auth(group_, secret_, wire::random_nonce());
  wire::Frame frame;
  frame.type = kAuth;
  if (Status s = send(frame, auth.open()); !s) return s;
  while (!auth.done()) {
    wire::Frame got;
    Result<std::vector<std::byte>> message = expect(kAuth, got, wire::kMaxAuthBytes);
    if (!message) return message.error();
    wire::AuthStep step = auth.on(*message);
    if (!step.reply.empty())
      if (Status s = send(frame, step.reply); !s) return s;
    if (!step.status) return step.status;
  }
  return {};
}

Status Stream::open_as_server() {
  wire::AuthServer auth(group_, secret_, wire::random_nonce());
  wire::Frame frame;
  frame.type = kAuth;
  while (!auth.done()) {
    wire::Frame got;
    Result<std::vector<std::byte>> message = expect(kAuth, got, wire::kMaxAuthBytes);
    if (!message) return message.error();
    wire::AuthStep step = auth.on(*message);
    if (!step.reply.empty())
      if (Status s = send(frame, step.reply); !s) return s;
    if (!step.status) return step.status;
  }
  return {};
}

}  // namespace regroup::state

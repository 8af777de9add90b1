#include "ft/driver/client.h"

#include <poll.h>

#include <optional>
#include <vector>

#include "base/clock.h"
#include "ft/driver/channel.h"
#include "ft/driver/codec.h"
#include "ft/driver/net.h"
#include "transport/wire/auth.h"
#include "transport/wire/frame.h"

namespace regroup {
namespace {

bool wait_for(int fd, short events, Instant until) {
  const Duration left = until - now();
  pollfd p{fd, events, 0};
  return left.ns > 0 && ::poll(&p, 1, static_cast<int>(left.ns / 1'000'000) + 1) > 0;
}

Result<Fd> connect_to(const std::string& text, Instant until) {
  auto where = net::parse_host_port(text);
  if (!where) return where.error();
  auto addresses = net::resolve(*where);
  if (!addresses) return addresses.error();
  Error last{Code::kUnavailable, "no answer"};
  for (const net::Address& a : *addresses) {
    auto fd = net::begin_connect(a);
    if (!fd) {
      last = fd.error();
    } else if (wait_for(fd->get(), POLLOUT, until)) {
      const Status status = net::finish_connect(fd->get());
      if (status.ok()) return std::move(*fd);
      last = status.error();
    }
  }
  return {Code::kUnavailable, "no coordinator at " + text + ": " + last.detail};
}

Result<std::string> ask(const CoordinatorAddress& to, ControlFrame type, std::span<const std::byte> question,
                        Duration bound) {
  const Instant until = now() + bound;
  auto fd = connect_to(to.where, until);
  if (!fd) return fd.error();
  Channel channel(std::move(*fd), to.group.empty() ? 0 : wire::group_hash(to.group));
  channel.set_max_frame(kMaxControlBytes);
  wire::AuthClient auth(to.group, to.secret, wire::random_nonce());
  Status status = channel.send(ControlFrame::kAuth, auth.open());
  std::optional<std::string> answer;
  auto on_frame = [&](ControlFrame got, std::span<const std::byte> payload) -> Status {
    if (got == type && auth.done()) {
      answer.emplace(reinterpret_cast<const char*>(payload.data()), payload.size());
      return {};
    }
    if (got != ControlFrame::kAuth) return {Code::kRefused, "unexpected answer"};
    wire::AuthStep step = auth.on(payload);
    if (!step.status) return step.status;
    return auth.done() ? channel.send(type, question) : channel.send(ControlFrame::kAuth, step.reply);
  };
  while (status.ok() && !answer) {
    const short wanted = static_cast<short>(POLLIN | (channel.wants_write() ? POLLOUT : 0));
    if (!wait_for(channel.fd(), wanted, until))
      status = {Code::kUnavailable, "no answer within " + std::to_string(bound.ns / 1'000'000) + " ms"};
    if (status.ok()) status = channel.flush();
    if (status.ok()) status = channel.receive(on_frame);
  }
  if (answer) return std::move(*answer);
  return {status.code() == Code::kRefused ? Code::kRefused : Code::kUnavailable,
          "coordinator at " + to.where + ": " + status.error().detail};
}

}  // namespace

Result<std::string> fetch_status(const CoordinatorAddress& to, Duration bound) {
  return ask(to, ControlFrame::kStatus, {}, bound);
}

Status report_death(const CoordinatorAddress& to, const Incarnation& who, Duration bound) {
  const auto question = encode(ToCoordinator{Suspect{who, SuspectKind::kDead}});
  auto answer = ask(to, ControlFrame::kDeath, question, bound);
  return answer.ok() ? Status{} : Status{answer.error()};
}

}  // namespace regroup

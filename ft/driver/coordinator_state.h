// Inside of CoordinatorServer: connections, events and the pure Coordinator, without sockets' set-up. One thread.
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "ft/core/coordinator.h"
#include "ft/driver/channel.h"
#include "ft/driver/coordinator_server.h"
#include "ft/driver/poller.h"
#include "ft/driver/view_log.h"
#include "transport/wire/auth.h"

namespace regroup {

// One accepted connection. It becomes a member's with the first Hello.
struct CoordinatorConnection {
  CoordinatorConnection(Fd fd, std::uint64_t group_hash, wire::AuthServer server)
      : channel(std::move(fd), group_hash), auth(std::move(server)) {}
  Channel channel;
  wire::AuthServer auth;
  Instant deadline;  // to have said Hello, or to have gone away when closing
  std::optional<Incarnation> who;
  MemberId id;  // of `who`, for events
  Instant heard;
  std::string status;    // DataSide::status_json
  bool closing = false;  // what is queued is still sent; nothing is read
};

struct CoordinatorEvent {
  Instant at;
  std::string text;
};

class CoordinatorServer::Impl {
 public:
  Impl(CoordinatorOptions options, ViewLog log, Fd listener, Fd wake);
  ~Impl();
  [[nodiscard]] Status run();
  void stop();

  std::string address;
  std::atomic<std::uint64_t> accepted{0}, bad_messages{0}, refused{0};
  [[nodiscard]] LogId log_id() const { return log_.id(); }

 private:
  using Connection = CoordinatorConnection;
  // sockets: coordinator_server.cc
  void accept_all();
  void on_socket(int fd, std::uint32_t events);
  [[nodiscard]] Status on_frame(Connection& c, ControlFrame type, std::span<const std::byte> payload);
  [[nodiscard]] Status on_auth(Connection& c, std::span<const std::byte> payload);
  void send(Connection& c, ControlFrame type, std::span<const std::byte> payload);
  void close_softly(Connection& c);
  void close(int fd, const Status& why);
  void enforce_deadlines();
  [[nodiscard]] bool over();
  // the core: coordinator_state.cc
  [[nodiscard]] Status on_message(Connection& c, std::span<const std::byte> payload);
  [[nodiscard]] Status on_death(std::span<const std::byte> payload);
  void bind(Connection& c, const Hello& hello);
  void feed(CoordinatorInput input);
  void run_actions(CoordinatorActions& actions);
  void deliver(const SendToMember& message);
  void record(const Decision& decision);
  void event(std::string text);
  [[nodiscard]] std::string name_of(const Incarnation& inc) const;
  [[nodiscard]] std::string status_json() const;  // coordinator_status.cc

  CoordinatorOptions options_;
  ViewLog log_;
  Poller poller_;
  Fd listener_, wake_;
  std::uint64_t group_hash_;
  Coordinator core_;
  std::map<int, std::unique_ptr<Connection>> connections_;
  std::map<Incarnation, int> bound_;  // whose messages go where
  std::deque<CoordinatorEvent> events_;
  Instant started_, last_member_, next_tick_;
  std::atomic<bool> stop_{false};
  Status failure_;
};

}  // namespace regroup

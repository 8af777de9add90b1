// CoordinatorLink: a member's connection to the coordinator: connect, handshake, frames, reconnect with bounded
// backoff.
//
// Threading: the control thread. Owns its socket. Nothing blocks. After any failure it reconnects by itself for ever;
// a coordinator that does not answer heartbeats for `silence` (counting only time in which we ran) counts as lost.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/time.h"
#include "ft/core/messages.h"
#include "ft/driver/channel.h"
#include "ft/driver/net.h"
#include "ft/driver/poller.h"
#include "transport/wire/auth.h"

namespace regroup {

struct LinkOptions {
  std::vector<net::Address> addresses;  // tried in turn
  std::string where;                    // as the user wrote it, for texts
  std::string group, secret;
  Duration reconnect_min, reconnect_max, silence;
};

class CoordinatorLink {
 public:
  struct Handlers {
    std::function<void(bool up)> changed;
    std::function<void(ToMember)> message;
    std::function<void(Refuse)> refused;  // the handshake failed: wrong secret, group or version
  };
  CoordinatorLink(Poller& poller, LinkOptions options, Handlers handlers);
  ~CoordinatorLink();

  void tick(Instant now);                   // connects when it is time to, judges silence
  void send(const ToCoordinator& message);  // dropped while down: the core says it again after Connected
  void send_status(const std::string& json);
  // Disconnects; the next attempt after `pause`.
  void drop(const std::string& why, Duration pause);
  // The last words: waits at most `bound` for what is queued to leave.
  void flush(Duration bound);

  [[nodiscard]] bool up() const { return state_ == State::kUp; }
  [[nodiscard]] bool congested() const { return channel_ && channel_->wants_write(); }
  [[nodiscard]] const std::string& trouble() const { return trouble_; }
  [[nodiscard]] std::uint64_t connects() const { return connects_; }
  [[nodiscard]] std::uint64_t bad_messages() const { return bad_messages_; }
  // Attempts in a row at which nobody listened there.
  [[nodiscard]] std::uint32_t nobody_there() const { return nobody_there_; }

 private:
  enum class State : std::uint8_t { kDown, kConnecting, kHandshake, kUp };
  void connect(Instant now);
  void on_socket(std::uint32_t events);
  void on_connected();
  [[nodiscard]] Status on_frame(ControlFrame type, std::span<const std::byte> payload);
  [[nodiscard]] Status on_auth(std::span<const std::byte> payload);
  void deliver();
  void fail(const Status& status);
  void disconnect();
  void update_interest();

  Poller& poller_;
  LinkOptions options_;
  Handlers handlers_;
  State state_ = State::kDown;
  std::unique_ptr<Channel> channel_;
  std::optional<wire::AuthClient> auth_;
  std::vector<ToMember> inbox_;  // decoded, to be handed over when the channel is not in use
  std::size_t next_address_ = 0;
  Instant next_try_{0}, last_tick_{0};
  Duration backoff_;
  Duration quiet_{0};  // time that we ran without a word from the peer
  std::string trouble_;
  std::uint64_t connects_ = 0, bad_messages_ = 0;
  std::uint32_t nobody_there_ = 0;
  Rng jitter_;
};

}  // namespace regroup

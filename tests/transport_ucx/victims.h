// Victims: processes of a party each, one after the other, that die while they connect. A process that never knows UCX forks
// them, so the test's own threads and UCX are not in them. Every answer has a bound: that of the pipes' other end.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/transport_ucx/party.h"

namespace regroup::ucx::testing {

// When one ends by SIGKILL: so long after it entered, after its sockets to all peers were up, or after it heard its first
// message. Or when it is told to, having stood still since then (its kernel answers, its worker does not).
struct Moment {
  enum class Since : std::uint8_t { kEntered, kConnected, kHeard } since = Since::kEntered;
  bool stands = false;
  std::int64_t after_us = 0;
};

class Victims {
 public:
  static constexpr Duration kPatience = Duration::from_ms(50);  // for what a moment waits for: who is given up already waits in vain
  Victims() {
    int down[2], up[2];
    REQUIRE((::pipe(down) == 0 && ::pipe(up) == 0));
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      ::close(down[1]), ::close(up[0]);
      down_ = down[0], up_ = up[1];
      breed();
      ::_exit(0);
    }
    ::close(down[0]), ::close(up[1]);
    down_ = down[1], up_ = up[0];
  }
  ~Victims() {
    if (victim_ > 0) ::kill(victim_, SIGKILL);
    ::close(down_), ::close(up_);
    ::waitpid(pid_, nullptr, 0);
  }
  Victims(const Victims&) = delete;

  // The next one, which listens.
  tcp::Peer next(std::uint32_t id) {
    REQUIRE(::write(down_, &id, sizeof id) == sizeof id);
    std::uint16_t port = 0;
    REQUIRE(::read(up_, &victim_, sizeof victim_) == sizeof victim_);
    REQUIRE(::read(up_, &port, sizeof port) == sizeof port);
    return {{id, 0}, {id + 1, 7}, {"127.0.0.1", port}};
  }
  // It enters `epoch` as the last of peers 0, 1, ... at these ports.
  void enter(Epoch epoch, const std::array<std::uint16_t, 2>& ports, Moment moment) {
    const Order order{epoch, ports, moment};
    REQUIRE(::write(down_, &order, sizeof order) == sizeof order);
    char taken = 0;  // else who kills it first leaves the order to the next one
    REQUIRE(::read(up_, &taken, 1) == 1);
  }
  void kill() const { ::kill(victim_, SIGKILL); }
  // How it ended.
  int ended() {
    int status = 0;
    REQUIRE(::read(up_, &status, sizeof status) == sizeof status);
    victim_ = -1;
    return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
  }

 private:
  struct Order {
    Epoch epoch;
    std::array<std::uint16_t, 2> ports;
    Moment moment;
  };
  template <class T>
  void tell(const T& value) const {
    if (::write(up_, &value, sizeof value) != sizeof value) ::_exit(1);
  }
  void breed() const {
    std::uint32_t id = 0;
    while (::read(down_, &id, sizeof id) == sizeof id) {
      const pid_t pid = ::fork();
      if (pid == 0) live(id);
      int status = 0;
      ::waitpid(pid, &status, 0);
      tell(status);
    }
  }
  void live(std::uint32_t id) const {
    tell(::getpid());
    Party self = Party::make(id);
    tell(self.peer.at.port);
    Order order{};
    if (::read(down_, &order, sizeof order) != sizeof order) ::_exit(1);
    tell('t');
    const std::vector<tcp::Peer> peers = {{{0, 0}, {1, 7}, {"127.0.0.1", order.ports[0]}}, {{1, 0}, {2, 7}, {"127.0.0.1", order.ports[1]}}, self.peer};
    self.count = SIZE_MAX;
    self.enter(order.epoch, peers, 2);
    const auto reached = [&] {
      if (order.moment.since == Moment::Since::kHeard) return self.got[0] + self.got[1] != 0;
      return order.moment.since == Moment::Since::kEntered || (self.links->state(0).up && self.links->state(1).up);
    };
    for (const Instant until = now() + kPatience; !reached() && now() < until;) self.links->pump({});
    for (const Instant until = now() + Duration::from_us(order.moment.after_us); now() < until;) self.links->pump({});
    while (order.moment.stands) ::pause();
    ::raise(SIGKILL);
  }

  pid_t pid_ = -1, victim_ = -1;
  int down_ = -1, up_ = -1;
};

}  // namespace regroup::ucx::testing

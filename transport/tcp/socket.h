// Sockets: the few calls that data links and state transfers share. Numeric IPv4 and IPv6 addresses ("[::1]" too); names
// are resolved by who configures the group. Every call is non-blocking or bounded. Threading: none; values and owned Fds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"

namespace regroup::tcp {

struct Endpoint {
  std::string host;  // numeric
  std::uint16_t port = 0;
};

// Which address data listeners of this member should use. `interface` is a name of an interface (its first IPv4 address,
// else a global IPv6 one), or a numeric address, or empty: then the local address that reaches `coordinator` ("host" or
// "host:port"), which is loopback where the coordinator is on loopback. No packet is sent. kConfig, kSystem.
[[nodiscard]] Result<std::string> data_address(const std::string& coordinator, const std::string& interface);

// A non-blocking listener on (host, port); port 0 picks one. kSystem names address and cause.
[[nodiscard]] Result<Fd> listen_at(const std::string& host, std::uint16_t port);
[[nodiscard]] Result<Endpoint> local_endpoint(int fd);

// Begins a non-blocking connect; the socket is writable when it is over, then connect_error tells (0: connected).
[[nodiscard]] Result<Fd> start_connect(const Endpoint& to);
[[nodiscard]] int connect_error(int fd);
// The next connection that waits at a listener, non-blocking; an empty Fd: none.
[[nodiscard]] Fd accept_next(int listener);

// TCP_NODELAY, and cubic congestion control where allowed (bbr halves the rate of loopback). Best effort: what the kernel
// refuses stays as it is. No TCP_USER_TIMEOUT: it also ends a connection whose peer is alive and only does not read.
void tune(int fd);
// The congestion control in use: "cubic", "bbr", ...
[[nodiscard]] std::string congestion_of(int fd);

// What the kernel knows of the peer's. A peer that does not read shuts its window: what is sent again then, at ever longer
// intervals, is answered each time.
struct Answers {
  bool owed = false;     // something was sent, and not all of it is acknowledged
  bool waiting = false;  // something, if only probes of a shut window, was sent since the last answer
  Duration since;        // of the last answer
};
[[nodiscard]] Answers answers(int fd);

// Blocking helpers with a deadline, for who owns a thread. kTimeout, kClosed (end of stream), kSystem.
[[nodiscard]] Status wait_readable(int fd, Instant deadline);
[[nodiscard]] Status wait_writable(int fd, Instant deadline);

}  // namespace regroup::tcp

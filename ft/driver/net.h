// Small socket helpers: names, listeners, non-blocking connects, abstract unix sockets. IPv4 and IPv6.
//
// Every descriptor is close-on-exec and non-blocking. Errors say which address and what the system answered. Stateless.
// resolve() may ask a name server and block: never call it on a control thread.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace regroup::net {

struct HostPort {
  std::string host;
  std::uint16_t port = 0;
};
// "host:port", "1.2.3.4:port", "[v6]:port". kConfig: not of that form.
[[nodiscard]] Result<HostPort> parse_host_port(const std::string& text);
[[nodiscard]] std::string to_string(const HostPort& where);

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};
[[nodiscard]] std::string to_string(const Address& address);
[[nodiscard]] Result<std::vector<Address>> resolve(const HostPort& where);
// An address of this host's interfaces (loopback included).
[[nodiscard]] bool is_local(const Address& address);
// Numeric address of the interface through which `where` is reached.
[[nodiscard]] Result<std::string> local_address_towards(const HostPort& where);

[[nodiscard]] Result<Fd> listen_tcp(const HostPort& where);
[[nodiscard]] Address local_address(int fd);
// Begins a connect; the socket becomes writable when it is over, then finish_connect says how it went.
[[nodiscard]] Result<Fd> begin_connect(const Address& to);
[[nodiscard]] Status finish_connect(int fd);
// kUnavailable: nobody is waiting.
[[nodiscard]] Result<Fd> accept_one(int listener);

// Abstract unix stream sockets, named without the leading NUL.
[[nodiscard]] Result<Fd> listen_abstract(const std::string& name);
// kUnavailable: nobody listens there; kTimeout: its queue is full, try again.
[[nodiscard]] Result<Fd> connect_abstract(const std::string& name);

[[nodiscard]] Error system_error(const std::string& what, int error);

}  // namespace regroup::net

#include "transport/tcp/socket.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/clock.h"

namespace regroup::tcp {
namespace {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] int family() const { return storage.ss_family; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

Error system_error(const std::string& what) {
  return {Code::kSystem, what + ": " + std::strerror(errno)};  // NOLINT: strerror of glibc is thread-safe enough here
}

std::string without_brackets(const std::string& host) {
  return host.size() > 2 && host.front() == '[' && host.back() == ']' ? host.substr(1, host.size() - 2) : host;
}

// flags: AI_NUMERICHOST keeps it from asking a name server.
Result<Address> resolve(const std::string& host, std::uint16_t port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int rc = ::getaddrinfo(without_brackets(host).c_str(), std::to_string(port).c_str(), &hints, &found);
  if (rc != 0 || found == nullptr) return {Code::kConfig, "address '" + host + "': " + ::gai_strerror(rc)};
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  Address a;
  std::memcpy(&a.storage, found->ai_addr, found->ai_addrlen);
  a.length = found->ai_addrlen;
  return a;
}

Result<Endpoint> endpoint_of(const sockaddr* address, socklen_t length) {
  char host[NI_MAXHOST], port[NI_MAXSERV];
  const int rc = ::getnameinfo(address, length, host, sizeof host, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV);
  if (rc != 0) return {Code::kSystem, std::string("getnameinfo: ") + ::gai_strerror(rc)};
  return Endpoint{host, static_cast<std::uint16_t>(std::stoi(port))};
}

// The host part of "host", "host:port", "[v6]" or "[v6]:port".
std::string host_part(const std::string& text) {
  if (!text.empty() && text.front() == '[') return text.substr(1, text.find(']') - 1);
  return std::count(text.begin(), text.end(), ':') == 1 ? text.substr(0, text.find(':')) : text;
}

Result<std::string> address_of_interface(const std::string& name) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return system_error("getifaddrs");
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
  std::string v6;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || name != at->ifa_name || (at->ifa_flags & IFF_UP) == 0) continue;
    if (at->ifa_addr->sa_family == AF_INET) {
      auto e = endpoint_of(at->ifa_addr, sizeof(sockaddr_in));
      return e.ok() ? Result<std::string>(e->host) : Result<std::string>(e.error());
    }
    if (at->ifa_addr->sa_family != AF_INET6 || !v6.empty()) continue;
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(at->ifa_addr);
    if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr)) continue;
    if (auto e = endpoint_of(at->ifa_addr, sizeof(sockaddr_in6)); e.ok()) v6 = e->host;
  }
  if (!v6.empty()) return v6;
  return {Code::kConfig, "interface '" + name + "' is neither an address nor an interface that is up with one"};
}

Status wait_for(int fd, short events, Instant deadline) {
  for (;;) {
    const Duration left = deadline - now();
    if (left.ns <= 0) return {Code::kTimeout, "the deadline passed"};
    pollfd p{fd, events, 0};
    const int n = ::poll(&p, 1, static_cast<int>(std::min<std::int64_t>(left.ns / 1'000'000 + 1, 1000)));
    if (n > 0) return {};
    if (n < 0 && errno != EINTR) return system_error("poll");
  }
}

}  // namespace

Result<std::string> data_address(const std::string& coordinator, const std::string& interface) {
  if (!interface.empty()) {
    if (auto numeric = resolve(interface, 0, AI_NUMERICHOST); numeric.ok()) return without_brackets(interface);
    return address_of_interface(interface);
  }
  auto to = resolve(host_part(coordinator), 9, 0);
  if (!to.ok()) return to.error();
  const Fd probe(::socket(to->family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe || ::connect(probe.get(), to->get(), to->length) != 0)
    return system_error("no route to the coordinator at '" + coordinator + "'");
  auto from = local_endpoint(probe.get());
  if (!from.ok()) return from.error();
  return from->host;
}

Result<Fd> listen_at(const std::string& host, std::uint16_t port) {
  const std::string where = host + " port " + std::to_string(port);
  auto at = resolve(host, port, AI_NUMERICHOST | AI_PASSIVE);
  if (!at.ok()) return at.error();
  Fd fd(::socket(at->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return system_error("socket for " + where);
  const int on = 1;
  if (port != 0) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), at->get(), at->length) != 0) return system_error("cannot bind " + where);
  if (::listen(fd.get(), 128) != 0) return system_error("cannot listen at " + where);
  return fd;
}

Result<Endpoint> local_endpoint(int fd) {
  Address a;
  a.length = sizeof a.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&a.storage), &a.length) != 0) return system_error("getsockname");
  return endpoint_of(a.get(), a.length);
}

Result<Fd> start_connect(const Endpoint& to) {
  auto at = resolve(to.host, to.port, AI_NUMERICHOST);
  if (!at.ok()) return at.error();
  Fd fd(::socket(at->family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return system_error("socket");
  if (::connect(fd.get(), at->get(), at->length) != 0 && errno != EINPROGRESS)
    return system_error("connect to " + to.host + " port " + std::to_string(to.port));
  return fd;
}

int connect_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

Fd accept_next(int listener) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) return Fd(fd);
    if (errno != EINTR && errno != ECONNABORTED) return {};
  }
}

void tune(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) != 0 && congestion_of(fd) == "bbr")
    ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
}

std::string congestion_of(int fd) {
  char name[32] = {};
  socklen_t length = sizeof name - 1;
  return ::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0 ? name : "unknown";
}

Answers answers(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return {};
  const bool probed = info.tcpi_probes > 1;  // kernels leave probes that come within half a second unanswered
  const bool sent = info.tcpi_unacked > 0 && info.tcpi_last_data_sent < info.tcpi_last_ack_recv;
  return {probed || info.tcpi_unacked > 0, probed || sent, Duration::from_ms(info.tcpi_last_ack_recv)};
}

Status wait_readable(int fd, Instant deadline) { return wait_for(fd, POLLIN, deadline); }
Status wait_writable(int fd, Instant deadline) { return wait_for(fd, POLLOUT, deadline); }

}  // namespace regroup::tcp

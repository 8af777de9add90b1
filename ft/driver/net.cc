#include "ft/driver/net.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>

namespace regroup::net {
namespace {

const sockaddr* raw(const Address& a) { return reinterpret_cast<const sockaddr*>(&a.storage); }

void no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // a delay is all that is lost where it fails
}

// The address without its port, for comparison; v4 in v6 counts as v4.
std::string host_bytes(const sockaddr* a) {
  if (a->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(a);
    return {reinterpret_cast<const char*>(&v4->sin_addr), 4};
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(a);
  const auto* bytes = reinterpret_cast<const char*>(&v6->sin6_addr);
  return IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr) ? std::string(bytes + 12, 4) : std::string(bytes, 16);
}

Result<sockaddr_un> abstract_name(const std::string& name, socklen_t& length) {
  sockaddr_un un{};
  if (name.empty() || name.size() > sizeof un.sun_path - 1) return {Code::kInvalid, "bad socket name '" + name + "'"};
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path + 1, name.data(), name.size());
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return un;
}

constexpr int kFlags = SOCK_CLOEXEC | SOCK_NONBLOCK;

}  // namespace

Error system_error(const std::string& what, int error) {
  return {Code::kSystem, what + ": " + ::strerrordesc_np(error) + " (errno " + std::to_string(error) + ")"};
}

Result<HostPort> parse_host_port(const std::string& text) {
  const Error bad{Code::kConfig, "'" + text + "' is not host:port or [v6 address]:port"};
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return bad;
  HostPort where{text.substr(0, colon), 0};
  if (where.host.front() == '[' && where.host.back() == ']')
    where.host = where.host.substr(1, where.host.size() - 2);
  else if (where.host.find(':') != std::string::npos)
    return bad;
  const char* end = text.data() + text.size();
  const auto [at, ec] = std::from_chars(text.data() + colon + 1, end, where.port);
  if (ec != std::errc() || at != end || where.host.empty() || where.host.find_first_of("[]") != std::string::npos) return bad;
  return where;
}

std::string to_string(const HostPort& where) {
  const bool v6 = where.host.find(':') != std::string::npos;
  return (v6 ? "[" + where.host + "]" : where.host) + ":" + std::to_string(where.port);
}

std::string to_string(const Address& address) {
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (::getnameinfo(raw(address), address.length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV))
    return "unknown";
  const std::string text = host;
  return (text.find(':') != std::string::npos ? "[" + text + "]" : text) + ":" + port;
}

Result<std::vector<Address>> resolve(const HostPort& where) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int failed = ::getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &hints, &list);
  if (failed != 0) return {Code::kConfig, "host '" + where.host + "' cannot be resolved: " + ::gai_strerror(failed)};
  std::vector<Address> found;
  for (const addrinfo* i = list; i != nullptr; i = i->ai_next) {
    Address a;
    std::memcpy(&a.storage, i->ai_addr, i->ai_addrlen);
    a.length = i->ai_addrlen;
    found.push_back(a);
  }
  ::freeaddrinfo(list);
  if (found.empty()) return {Code::kConfig, "host '" + where.host + "' has no address"};
  return found;
}

bool is_local(const Address& address) {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return false;
  const std::string wanted = host_bytes(raw(address));
  bool found = wanted.size() == 4 && wanted[0] == 127;
  for (const ifaddrs* i = list; i != nullptr && !found; i = i->ifa_next) {
    if (i->ifa_addr == nullptr) continue;
    const int family = i->ifa_addr->sa_family;
    found = (family == AF_INET || family == AF_INET6) && host_bytes(i->ifa_addr) == wanted;
  }
  ::freeifaddrs(list);
  return found;
}

Result<std::string> local_address_towards(const HostPort& where) {
  auto targets = resolve(where);
  if (!targets) return targets.error();
  int error = EADDRNOTAVAIL;
  for (const Address& to : *targets) {
    const Fd fd(::socket(to.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!fd || ::connect(fd.get(), raw(to), to.length) != 0) {  // no packet is sent: only a route is chosen
      error = errno;
      continue;
    }
    const Address mine = local_address(fd.get());
    char host[NI_MAXHOST];
    if (::getnameinfo(raw(mine), mine.length, host, sizeof host, nullptr, 0, NI_NUMERICHOST) == 0)
      return std::string(host);
  }
  return system_error("no route to " + to_string(where), error);
}

Result<Fd> listen_tcp(const HostPort& where) {
  auto targets = resolve(where);
  if (!targets) return targets.error();
  int error = EADDRNOTAVAIL;
  for (const Address& at : *targets) {
    Fd fd(::socket(at.storage.ss_family, SOCK_STREAM | kFlags, 0));
    const int on = 1;
    if (fd) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd && ::bind(fd.get(), raw(at), at.length) == 0 && ::listen(fd.get(), 1024) == 0) return fd;
    error = errno;
  }
  return system_error("cannot listen at " + to_string(where), error);
}

Address local_address(int fd) {
  Address a;
  a.length = sizeof a.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&a.storage), &a.length) != 0) a.length = 0;
  return a;
}

Result<Fd> begin_connect(const Address& to) {
  Fd fd(::socket(to.storage.ss_family, SOCK_STREAM | kFlags, 0));
  if (!fd) return system_error("cannot make a socket", errno);
  no_delay(fd.get());
  if (::connect(fd.get(), raw(to), to.length) != 0 && errno != EINPROGRESS)
    return system_error("cannot connect to " + to_string(to), errno);
  return fd;
}

Status finish_connect(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) return system_error("cannot connect", error);
  // On loopback a connect to a free port of the ephemeral range can meet itself; it would keep the port taken, too.
  Address peer;
  peer.length = sizeof peer.storage;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer.storage), &peer.length) != 0)
    return system_error("cannot connect", errno);
  if (to_string(peer) == to_string(local_address(fd))) {
    const linger reset{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    return system_error("cannot connect", ECONNREFUSED);
  }
  return {};
}

Result<Fd> accept_one(int listener) {
  Fd fd(::accept4(listener, nullptr, nullptr, kFlags));
  if (fd) return no_delay(fd.get()), std::move(fd);
  if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ECONNABORTED || errno == EINTR)
    return {Code::kUnavailable, "nobody is waiting"};
  return system_error("cannot accept a connection", errno);
}

Result<Fd> listen_abstract(const std::string& name) {
  socklen_t length = 0;
  auto un = abstract_name(name, length);
  if (!un) return un.error();
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | kFlags, 0));
  if (fd && ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*un), length) == 0 && ::listen(fd.get(), 1024) == 0)
    return fd;
  return system_error("cannot listen at socket @" + name, errno);
}

Result<Fd> connect_abstract(const std::string& name) {
  socklen_t length = 0;
  auto un = abstract_name(name, length);
  if (!un) return un.error();
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | kFlags, 0));
  if (fd && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&*un), length) == 0) return fd;
  if (errno == ECONNREFUSED) return {Code::kUnavailable, "nobody listens at socket @" + name};
  if (errno == EAGAIN) return {Code::kTimeout, "the queue of socket @" + name + " is full"};
  return system_error("cannot connect to socket @" + name, errno);
}

}  // namespace regroup::net

#include "runtime/topo/measure.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "kernels/kernels.h"
#include "transport/tcp/socket.h"
#include "transport/wire/frame.h"

namespace regroup::topo {
namespace {

constexpr std::size_t kFoldBytes = 512u << 10;   // of one source: three of them do not fit the innermost caches
constexpr std::size_t kCallBytes = 128u << 10;   // fits the buffers of a socket
constexpr std::size_t kCalls = 12;               // each of other bytes, as in an op
constexpr int kFolds = 6, kTurns = 24;
constexpr double kFrame = 1.5;                   // a frame of ours against the bare bytes

double us(Duration d) { return static_cast<double>(d.ns) / 1e3; }

// Steps of a fifth, about: four to a doubling. Exact powers of two are the same everywhere.
double rounded(double value) { return std::exp2(std::round(std::log2(value) * 4) / 4); }

std::size_t usable_cores() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<std::size_t>(std::max(1, CPU_COUNT(&set))) : 1;
}

// A fold of two: what it reads and writes.
double fold_gbps() {
  std::vector<float> a(kFoldBytes / sizeof(float), 1.0f), b(a), out(a);
  const void* sources[] = {a.data(), b.data()};
  double best = 0;
  for (int i = 0; i < kFolds; ++i) {
    const Instant begin = now();
    kernels::reduce(DataType::kF32, ReduceOp::kSum, out.data(), sources, a.size());
    best = std::max(best, 3.0 * kFoldBytes / std::max(us(now() - begin), 1.0) / 1e3);
  }
  return best;
}

struct Pair {
  Fd left, right;
};

std::optional<Pair> connect_to_self(const std::string& host, Instant deadline) {
  Result<Fd> listener = tcp::listen_at(host, 0);
  if (!listener) return std::nullopt;
  Result<tcp::Endpoint> at = tcp::local_endpoint(listener->get());
  if (!at) return std::nullopt;
  Result<Fd> left = tcp::start_connect(*at);
  if (!left || !tcp::wait_readable(listener->get(), deadline).ok()) return std::nullopt;
  Pair pair{std::move(*left), tcp::accept_next(listener->get())};
  if (!pair.right) return std::nullopt;
  for (const Fd* fd : {&pair.left, &pair.right}) tcp::tune(fd->get());
  return pair;
}

// Bytes from one end to the other, with their checksums, by this one thread: the work of both.
bool pass(const Pair& pair, const std::byte* from, std::byte* to, std::size_t bytes, Instant deadline) {
  std::size_t sent = 0, got = 0;
  const std::uint64_t sum = wire::checksum({from, bytes});
  while (got < bytes) {
    if (sent < bytes)
      if (const ssize_t n = ::send(pair.left.get(), from + sent, bytes - sent, MSG_DONTWAIT | MSG_NOSIGNAL); n > 0)
        sent += static_cast<std::size_t>(n);
    if (const ssize_t n = ::recv(pair.right.get(), to + got, bytes - got, MSG_DONTWAIT); n > 0)
      got += static_cast<std::size_t>(n);
    if (now() >= deadline) return false;
  }
  return wire::checksum({to, bytes}) == sum;
}

void measure_sockets(const std::string& host, Instant deadline, algo::Machine& machine) {
  const std::optional<Pair> pair = connect_to_self(host, deadline);
  if (!pair) return;
  std::vector<std::byte> out(kCalls * kCallBytes), in(out);
  double least = 1e9, most = 0;
  for (int i = 0; i < kTurns; ++i) {
    const Instant begin = now();
    if (!pass(*pair, out.data(), in.data(), wire::kHeaderBytes, deadline)) return;
    least = std::min(least, us(now() - begin));
  }
  for (std::size_t i = 0; i < kCalls; ++i) {
    const Instant begin = now();
    if (!pass(*pair, out.data() + i * kCallBytes, in.data() + i * kCallBytes, kCallBytes, deadline)) return;
    most = std::max(most, static_cast<double>(kCallBytes) / std::max(us(now() - begin), 1.0) / 1e3);
  }
  machine.net_msg_us = std::max(0.1, least / 2 * kFrame);
  machine.net_gbps = most;
}

// Half of what a connection takes to be made or refused, less the work: a way there.
std::optional<double> hop_us(const std::string& peer, Instant deadline) {
  const std::size_t colon = peer.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  tcp::Endpoint at;
  at.host = peer.substr(0, colon);
  at.port = static_cast<std::uint16_t>(std::atoi(peer.c_str() + colon + 1));
  const Instant begin = now();
  Result<Fd> fd = tcp::start_connect(at);
  if (!fd || !tcp::wait_writable(fd->get(), deadline).ok()) return std::nullopt;
  return us(now() - begin) / 2;
}

// GB/s of the interface that has this address, where the kernel knows it.
std::optional<double> wire_gbps(const std::string& host) {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) return std::nullopt;
  std::optional<double> found;
  for (const ifaddrs* i = all; i != nullptr && !found; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || (i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET6_ADDRSTRLEN] = "";
    if (i->ifa_addr->sa_family == AF_INET)
      ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(i->ifa_addr)->sin_addr, text, sizeof text);
    else if (i->ifa_addr->sa_family == AF_INET6)
      ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6*>(i->ifa_addr)->sin6_addr, text, sizeof text);
    if (host != text) continue;
    double megabits = 0;
    if (std::ifstream(std::string("/sys/class/net/") + i->ifa_name + "/speed") >> megabits && megabits > 0)
      found = megabits / 8e3;
  }
  ::freeifaddrs(all);
  return found;
}

}  // namespace

algo::Machine measure(const std::string& host, const std::string& peer, Duration bound) {
  const Instant deadline = now() + bound;
  algo::Machine m;
  m.cores = usable_cores();
  m.fold_gbps = rounded(fold_gbps());
  measure_sockets(host, deadline, m);
  if (const auto wire = wire_gbps(host)) m.net_gbps = std::min(m.net_gbps, *wire);
  if (!peer.empty())
    if (const auto hop = hop_us(peer, deadline)) m.net_hop_us = std::max(1.0, *hop - 2 * m.net_msg_us);
  m.net_msg_us = rounded(m.net_msg_us);
  m.net_gbps = rounded(m.net_gbps);
  m.net_hop_us = rounded(m.net_hop_us);
  return m;
}

}  // namespace regroup::topo

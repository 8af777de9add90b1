#include "tools/chaos/delay_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netfilter_ipv4.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <list>
#include <vector>

#include "base/clock.h"

namespace regroup::chaos {
namespace {

constexpr std::size_t kRead = 64 << 10;

struct Waiting {
  Instant due;
  std::vector<std::byte> bytes;
  std::size_t sent = 0;
};

// One direction of a connection.
struct Direction {
  int from = -1, to = -1;
  std::deque<Waiting> queue;
  std::size_t bytes = 0;
  bool ended = false, closed = false;  // nothing more comes; that has been passed on

  [[nodiscard]] bool reads() const { return !ended && bytes < DelayProxy::kMaxWaiting; }
  [[nodiscard]] bool writes(Instant at) const { return !queue.empty() && queue.front().due <= at; }

  bool read(Instant due) {
    std::vector<std::byte> block(kRead);
    const ssize_t n = ::recv(from, block.data(), block.size(), MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n == 0) return ended = true;
    block.resize(static_cast<std::size_t>(n));
    bytes += block.size();
    if (!queue.empty()) due = std::max(due, queue.back().due);  // never overtaken
    queue.push_back({due, std::move(block)});
    return true;
  }
  bool write(Instant at) {
    while (writes(at)) {
      Waiting& w = queue.front();
      const ssize_t n = ::send(to, w.bytes.data() + w.sent, w.bytes.size() - w.sent, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN || errno == EINTR || errno == ENOTCONN;
      bytes -= static_cast<std::size_t>(n);
      w.sent += static_cast<std::size_t>(n);
      if (w.sent < w.bytes.size()) return true;
      queue.pop_front();
    }
    if (ended && queue.empty() && !closed) closed = true, ::shutdown(to, SHUT_WR);
    return true;
  }
};

struct Flow {
  Fd near, far;
  Direction there, back;
};

// Goes on to where the redirected connection was meant for. Null: it is gone.
std::unique_ptr<Flow> onward(Fd near) {
  sockaddr_in meant{};
  socklen_t length = sizeof meant;
  if (::getsockopt(near.get(), SOL_IP, SO_ORIGINAL_DST, &meant, &length) != 0) return nullptr;
  Fd far(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const std::uint32_t mark = DelayProxy::kMark;
  const int yes = 1;
  if (!far || ::setsockopt(far.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) return nullptr;
  for (const int fd : {near.get(), far.get()}) ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (::connect(far.get(), reinterpret_cast<sockaddr*>(&meant), sizeof meant) != 0 && errno != EINPROGRESS) return nullptr;
  auto flow = std::make_unique<Flow>();
  flow->near = std::move(near), flow->far = std::move(far);
  flow->there.from = flow->back.to = flow->near.get();
  flow->there.to = flow->back.from = flow->far.get();
  return flow;
}

}  // namespace

Result<std::unique_ptr<DelayProxy>> DelayProxy::start(int network) {
  std::unique_ptr<DelayProxy> proxy(new DelayProxy);
  int wake[2];
  if (::pipe2(wake, O_CLOEXEC) != 0) return Error{Code::kSystem, std::string("pipe: ") + std::strerror(errno)};
  proxy->wake_read_.reset(wake[0]), proxy->wake_write_.reset(wake[1]);
  Status opened;
  std::atomic<bool> ready{false};
  proxy->thread_ = std::thread([p = proxy.get(), network, &opened, &ready] {
    if (::setns(network, CLONE_NEWNET) != 0) opened = {Code::kSystem, std::string("setns: ") + std::strerror(errno)};
    else opened = p->listen();
    const bool ok = opened.ok();
    ready.store(true, std::memory_order_release);
    ready.notify_one();
    if (ok) p->loop();
  });
  ready.wait(false, std::memory_order_acquire);
  if (!opened.ok()) return opened.error();
  return proxy;
}

DelayProxy::~DelayProxy() {
  wake_write_.reset();
  if (thread_.joinable()) thread_.join();
}

Status DelayProxy::listen() {
  sockaddr_in any{};
  any.sin_family = AF_INET;
  socklen_t length = sizeof any;
  listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_ || ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) != 0 ||
      ::listen(listener_.get(), 64) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&any), &length) != 0)
    return {Code::kSystem, std::string("the delay proxy cannot listen: ") + std::strerror(errno)};
  port_ = ntohs(any.sin_port);
  return {};
}

void DelayProxy::loop() {
  std::list<std::unique_ptr<Flow>> flows;
  std::vector<pollfd> fds;
  for (;;) {
    const Instant at = now();
    Instant next = Instant::never();
    fds.assign({{wake_read_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}});
    for (const auto& flow : flows) {
      const auto events = [&](const Direction& in, const Direction& out) {
        if (!out.queue.empty() && !out.writes(at)) next = std::min(next, out.queue.front().due);
        return static_cast<short>((in.reads() ? POLLIN : 0) | (out.writes(at) ? POLLOUT : 0));
      };
      const short near = events(flow->there, flow->back), far = events(flow->back, flow->there);
      fds.push_back({near != 0 ? flow->near.get() : -1, near, 0});
      fds.push_back({far != 0 ? flow->far.get() : -1, far, 0});
    }
    const int wait_ms = next.is_never() ? -1 : static_cast<int>(std::max<std::int64_t>((next - at).ns + 999'999, 0) / 1'000'000);
    if (::poll(fds.data(), fds.size(), wait_ms) < 0 && errno != EINTR) return;
    if (fds[0].revents != 0) return;
    const Instant then = now();
    const Instant due = then + Duration{delay_ns_.load()};
    std::size_t i = 2;
    for (auto it = flows.begin(); it != flows.end(); i += 2) {
      Flow& f = **it;
      bool ok = true;
      if (fds[i].revents != 0 && f.there.reads()) ok = f.there.read(due);
      if (ok && fds[i + 1].revents != 0 && f.back.reads()) ok = f.back.read(due);
      ok = ok && f.there.write(then) && f.back.write(then);
      it = ok && !(f.there.closed && f.back.closed) ? std::next(it) : flows.erase(it);
    }
    if ((fds[1].revents & POLLIN) != 0)
      if (Fd near(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)); near)
        if (auto flow = onward(std::move(near))) flows.push_back(std::move(flow));
  }
}

}  // namespace regroup::chaos

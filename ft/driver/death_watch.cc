#include "ft/driver/death_watch.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "ft/driver/dying.h"
#include "ft/driver/net.h"

namespace regroup {
namespace {

bool send_fd(int socket, int fd) {
  char byte = 1;
  iovec iov{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&msg);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return ::sendmsg(socket, &msg, MSG_NOSIGNAL) == 1;
}

// The descriptor that waits at the socket. kTimeout: nothing yet.
Result<Fd> receive_fd(int socket) {
  char byte = 0;
  iovec iov{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr msg{};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = sizeof control;
  const ssize_t n = ::recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return {Code::kTimeout, "nothing yet"};
  const cmsghdr* c = n == 1 ? CMSG_FIRSTHDR(&msg) : nullptr;
  if (c == nullptr || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
    return {Code::kClosed, "the peer closed the connection"};
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return Fd(fd);
}

constexpr int kMaxAttempts = 50;

ucred peer_of(int socket) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) who = {0, static_cast<uid_t>(-1), 0};
  return who;
}

}  // namespace

std::string death_socket_name(const Incarnation& inc) { return "regroup-death-" + to_string(inc); }

Status DeathServer::open(const Incarnation& inc, int page_fd) {
  auto listener = net::listen_abstract(death_socket_name(inc));
  if (!listener) return listener.error();
  listener_ = std::move(*listener);
  page_fd_ = page_fd;
  return poller_.add(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_all(); });
}

void DeathServer::close() {
  if (listener_) poller_.remove(listener_.get());
  listener_.reset();
}

void DeathServer::accept_all() {
  for (int i = 0; i < 64; ++i) {
    auto peer = net::accept_one(listener_.get());
    if (!peer) return;
    const uid_t uid = peer_of(peer->get()).uid;
    if (uid == ::geteuid() || uid == 0) send_fd(peer->get(), page_fd_);
  }
}

void DeathWatch::drop(Peer& peer) {
  if (peer.socket) poller_.remove(peer.socket.get());
  if (peer.pidfd) poller_.remove(peer.pidfd.get());
  peer.socket.reset();
  peer.pidfd.reset();
}

void DeathWatch::watch(const std::vector<Target>& targets) {
  for (auto it = peers_.begin(); it != peers_.end();) {
    const bool stays = std::any_of(targets.begin(), targets.end(), [&](const Target& t) { return t.inc == it->first; });
    if (!stays) drop(*it->second);
    it = stays ? std::next(it) : peers_.erase(it);
  }
  for (const Target& t : targets) {
    if (t.socket.empty() || peers_.contains(t.inc)) continue;
    auto& peer = peers_[t.inc] = std::make_unique<Peer>();
    peer->socket_name = t.socket;
    fetch(t.inc, *peer);
  }
}

// A page that could not be fetched costs speed only: the coordinator's detector remains.
void DeathWatch::fetch(const Incarnation& inc, Peer& peer) {
  auto socket = net::connect_abstract(peer.socket_name);
  if (!socket) {
    if (socket.code() == Code::kUnavailable)
      dead(inc);  // its control thread listened before anybody knew its name
    else if (socket.code() != Code::kTimeout)
      peer.failed = true;
    return;
  }
  // The credentials are those of the process that listens: a pid of it, even if the page never comes.
  const ucred who = peer_of(socket->get());
  if (who.uid != ::geteuid() && who.uid != 0) {
    peer.failed = true;  // somebody else's socket of that name
    return;
  }
  peer.socket = std::move(*socket);
  if (who.pid > 0 && who.pid != ::getpid()) {
    peer.pidfd.reset(static_cast<int>(::syscall(SYS_pidfd_open, who.pid, 0)));
    if (!peer.pidfd && errno == ESRCH) return dead(inc);
    peer.pid = who.pid;
    if (peer.pidfd && !poller_.add(peer.pidfd.get(), EPOLLIN, [this, inc](std::uint32_t) { dead(inc); }))
      peer.pidfd.reset();
  }
  if (!poller_.add(peer.socket.get(), EPOLLIN, [this, inc](std::uint32_t) { receive(inc); })) peer.failed = true;
}

void DeathWatch::receive(const Incarnation& inc) {
  auto it = peers_.find(inc);
  if (it == peers_.end() || !it->second->socket) return;
  Peer& peer = *it->second;
  auto fd = receive_fd(peer.socket.get());
  if (fd.code() == Code::kTimeout) return;
  poller_.remove(peer.socket.get());
  peer.socket.reset();
  auto page = fd.ok() ? SlotMap::map(fd->get(), false) : Result<SlotMap>(fd.error());
  if (!page) {  // closed without an answer: dying, then the next attempt is refused; or not willing
    peer.failed = ++peer.attempts >= kMaxAttempts;
    return;
  }
  peer.page = std::move(*page);
  check();
}

void DeathWatch::check() {
  std::vector<Incarnation> dead_now;
  for (auto& [inc, peer] : peers_) {
    if (peer->dead || peer->failed) continue;
    if (peer->page && !is_alive(peer->page.slot(0), inc)) dead_now.push_back(inc);
    if (!peer->page && !peer->socket) dead_now.push_back(inc);
  }
  for (const Incarnation& inc : dead_now) {
    auto it = peers_.find(inc);
    if (it == peers_.end()) continue;
    if (it->second->page)
      dead(inc);
    else
      fetch(inc, *it->second);
  }
}

void DeathWatch::dead(const Incarnation& inc) {
  auto it = peers_.find(inc);
  if (it == peers_.end() || it->second->dead) return;
  it->second->dead = true;
  if (Fd& pidfd = it->second->pidfd) {
    poller_.remove(pidfd.get());
    dying_.emplace_back(it->second->pid, std::move(pidfd));
  }
  drop(*it->second);
  on_death_(inc);
}

void DeathWatch::quieten() {
  for (const auto& [pid, pidfd] : dying_) set_dying_back(pid, pidfd.get());
  dying_.clear();
}

bool DeathWatch::known_alive(const Incarnation& inc) const {
  auto it = peers_.find(inc);
  return it != peers_.end() && !it->second->dead && it->second->page && is_alive(it->second->page.slot(0), inc);
}

bool DeathWatch::known_dead(const Incarnation& inc) const {
  auto it = peers_.find(inc);
  return it != peers_.end() && it->second->dead;
}

bool lives_here(const Incarnation& inc, const std::string& socket, Duration bound) {
  const Instant until = now() + bound;
  auto fd = net::connect_abstract(socket);
  if (!fd) return fd.code() == Code::kTimeout;  // a full queue has an owner
  while (true) {
    auto page = receive_fd(fd->get());
    if (page.ok()) {
      auto map = SlotMap::map(page->get(), false);
      return map.ok() && is_alive(map->slot(0), inc);
    }
    const Duration left = until - now();
    if (page.code() != Code::kTimeout || left.ns <= 0) return false;
    pollfd p{fd->get(), POLLIN, 0};
    ::poll(&p, 1, static_cast<int>(left.ns / 1'000'000) + 1);
  }
}

}  // namespace regroup

#include "transport/shm/segment_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

namespace regroup::shm {
namespace {

constexpr std::size_t kMaxConnections = 1024;

bool same_user(int connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == ::geteuid() || peer.uid == 0);
}

}  // namespace

Result<std::unique_ptr<SegmentServer>> SegmentServer::start(const Incarnation& self) {
  std::unique_ptr<SegmentServer> server(new SegmentServer);
  server->name_ = "regroup-seg-" + to_string(self);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, server->name_.data(), server->name_.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + server->name_.size());
  server->listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  server->stop_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!server->listener_ || !server->stop_ ||
      ::bind(server->listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(server->listener_.get(), 128) != 0)
    return {Code::kSystem, "segment socket @" + server->name_ + ": " + std::strerror(errno)};
  server->thread_ = std::thread([raw = server.get()] { raw->loop(); });
  return server;
}

SegmentServer::~SegmentServer() {
  const std::uint64_t one = 1;
  if (stop_) (void)!::write(stop_.get(), &one, sizeof one);
  if (thread_.joinable()) thread_.join();
}

void SegmentServer::add(std::uint32_t segment, int read_only_fd) {
  std::lock_guard lock(mutex_);
  descriptors_[segment] = Fd(::fcntl(read_only_fd, F_DUPFD_CLOEXEC, 0));
}

void SegmentServer::remove(std::uint32_t segment) {
  std::lock_guard lock(mutex_);
  descriptors_.erase(segment);
}

void SegmentServer::loop() {
  std::vector<Fd> connections;
  for (;;) {
    std::vector<pollfd> polls{{stop_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const Fd& c : connections) polls.push_back({c.get(), POLLIN, 0});
    if (::poll(polls.data(), polls.size(), 1000) < 0 && errno != EINTR) return;
    if (polls[0].revents != 0) return;
    for (std::size_t i = connections.size(); i-- > 0;) {
      if (polls[i + 2].revents == 0) continue;
      SegmentRequest request;
      const ssize_t got = ::recv(connections[i].get(), &request, sizeof request, MSG_DONTWAIT);
      const bool whole = got == sizeof request && request.magic == SegmentRequest{}.magic;
      if (!whole && !(got < 0 && errno == EAGAIN)) {
        connections.erase(connections.begin() + static_cast<std::ptrdiff_t>(i));
        continue;
      }
      if (!whole) continue;
      SegmentAnswer reply;
      std::lock_guard lock(mutex_);
      auto it = descriptors_.find(request.segment);
      reply.found = it != descriptors_.end();
      iovec part{&reply, sizeof reply};
      alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
      msghdr message{};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      if (reply.found) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        const int fd = it->second.get();
        std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
      }
      (void)!::sendmsg(connections[i].get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (polls[1].revents != 0) {
      Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (connection && connections.size() < kMaxConnections && same_user(connection.get()))
        connections.push_back(std::move(connection));
    }
  }
}

}  // namespace regroup::shm

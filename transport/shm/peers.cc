#include "transport/shm/peers.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "transport/shm/segment_server.h"

namespace regroup::shm {

Result<const Mapping*> Peer::map(std::uint32_t segment) {
  std::lock_guard lock(mutex_);
  if (auto it = mappings_.find(segment); it != mappings_.end()) return &it->second;
  if (failpoints_ != nullptr && failpoints_->fails(Point::kMapSegment))
    return {Code::kUnavailable, "segment " + std::to_string(segment) + " of @" + socket_ + ": failpoint map_segment"};
  Result<Fd> fd = ask(segment);
  if (!fd) {
    connection_.reset();  // a fresh connection next time
    return fd.error();
  }
  Result<Mapping> mapping = Mapping::map(std::move(*fd));
  if (!mapping) return mapping.error();
  return &mappings_.emplace(segment, std::move(*mapping)).first->second;
}

void Peer::forget(std::uint32_t segment) {
  std::lock_guard lock(mutex_);
  mappings_.erase(segment);
}

Result<Fd> Peer::ask(std::uint32_t segment) {
  const auto failed = [&](const char* what) {
    return Error{Code::kUnavailable, "segment " + std::to_string(segment) + " of @" + socket_ + ": " + what + ": " +
                                         std::strerror(errno)};
  };
  if (!connection_) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (socket_.empty() || socket_.size() + 1 > sizeof address.sun_path) return errno = EINVAL, failed("socket name");
    std::memcpy(address.sun_path + 1, socket_.data(), socket_.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + socket_.size());
    Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const timeval bound{0, 500'000};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
    ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
    if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) != 0) return failed("connect");
    connection_ = std::move(fd);
  }
  SegmentRequest request;
  request.segment = segment;
  if (::send(connection_.get(), &request, sizeof request, MSG_NOSIGNAL) != sizeof request) return failed("ask");
  SegmentAnswer answer;
  iovec part{&answer, sizeof answer};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (::recvmsg(connection_.get(), &message, MSG_CMSG_CLOEXEC) != sizeof answer) return failed("answer");
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (answer.found == 0 || header == nullptr || header->cmsg_type != SCM_RIGHTS) return errno = ENOENT, failed("owner");
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return Fd(fd);
}

}  // namespace regroup::shm

// Pair: two ends of a connected, non-blocking stream socket inside this process.
#pragma once

#include <sys/socket.h>

#include <span>

#include "base/fd.h"
#include "tests/fuzz/target.h"

namespace regroup::fuzz {

struct Pair {
  Fd a, b;
  Pair() {
    int fds[2];
    RG_CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
    a.reset(fds[0]);
    b.reset(fds[1]);
  }
};

// What the socket takes; never blocks.
inline std::size_t feed(int fd, std::span<const std::byte> bytes) {
  const ssize_t n = bytes.empty() ? 0 : ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

}  // namespace regroup::fuzz

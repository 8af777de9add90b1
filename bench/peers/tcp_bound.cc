// What the kernel's loopback TCP alone costs an all-reduce of two ranks: both send each other so many bytes (what a rank of
// a 2-rank all-reduce sends and receives) over one connection, each in one thread, and do nothing else: no checksum, no sum, no
// copy. `splice` sends pages by reference (vmsplice, splice) instead of copying them.
// usage: tcp_bound BYTES [send|splice] [CALL_KIB=1024] [REPS=15]     prints a line as mpi_coll does
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

static int connected(bool child, int listener, sockaddr_in at) {
  const int fd = child ? socket(AF_INET, SOCK_STREAM, 0) : accept(listener, nullptr, nullptr);
  if (child && connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return -1;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

int main(int argc, char** argv) {
  if (argc < 2) return fprintf(stderr, "usage: tcp_bound BYTES [send|splice] [CALL_KIB] [REPS]\n"), 2;
  const size_t bytes = strtoull(argv[1], nullptr, 10), call = (argc > 3 ? strtoull(argv[3], nullptr, 10) : 1024) << 10;
  const bool by_page = argc > 2 && std::string(argv[2]) == "splice";
  const int reps = argc > 4 ? atoi(argv[4]) : 15;
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET, at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  if (bind(listener, reinterpret_cast<sockaddr*>(&at), length) != 0 || listen(listener, 1) != 0) return perror("listen"), 1;
  getsockname(listener, reinterpret_cast<sockaddr*>(&at), &length);
  const bool child = fork() == 0;
  const int fd = connected(child, listener, at);
  if (fd < 0) return perror("connect"), 1;
  std::vector<char> in(bytes, child ? 1 : 2), out(bytes);
  int ends[2];
  if (pipe2(ends, O_NONBLOCK) != 0) return perror("pipe"), 1;
  fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
  std::vector<double> us;
  for (int rep = -1; rep < reps; ++rep) {
    size_t sent = 0, got = 0, piped = 0;  // piped: beyond what was sent, in the pipe
    const auto begin = std::chrono::steady_clock::now();
    while (sent < bytes || got < bytes) {
      ssize_t n = 0, m = 0;
      if (by_page && piped == 0 && sent < bytes) {
        const iovec range{in.data() + sent, std::min(call, bytes - sent)};
        piped = static_cast<size_t>(std::max<ssize_t>(vmsplice(ends[1], &range, 1, SPLICE_F_NONBLOCK), 0));
      }
      if (by_page && piped != 0 && (n = splice(ends[0], nullptr, fd, nullptr, piped, SPLICE_F_NONBLOCK)) > 0) piped -= static_cast<size_t>(n);
      if (!by_page && sent < bytes) n = send(fd, in.data() + sent, std::min(call, bytes - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (got < bytes) m = recv(fd, out.data() + got, std::min(call, bytes - got), MSG_DONTWAIT);
      if (got < bytes && m == 0) return fprintf(stderr, "tcp_bound: the peer is gone\n"), 1;
      sent += static_cast<size_t>(std::max<ssize_t>(n, 0)), got += static_cast<size_t>(std::max<ssize_t>(m, 0));
      if (n > 0 || m > 0) continue;
      pollfd p{fd, static_cast<short>((got < bytes ? POLLIN : 0) | (sent < bytes ? POLLOUT : 0)), 0};
      poll(&p, 1, 1);
    }
    if (rep >= 0) us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count());
    if (memchr(out.data(), child ? 1 : 2, bytes) != nullptr) return fprintf(stderr, "tcp_bound: WRONG\n"), 1;
    memset(out.data(), 0, bytes);
  }
  if (child) return 0;
  wait(nullptr);
  std::sort(us.begin(), us.end());
  const double median = us[us.size() / 2], rate = static_cast<double>(bytes) / median / 1e3;
  printf("bound-tcp-%s,allreduce,2,%zu,%.3f,%.3f,%.3f,%.3f,%.3f\n", by_page ? "splice" : "send", bytes, us.front(), median, us.back(), rate, rate);
}

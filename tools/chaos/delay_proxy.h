// DelayProxy: lets bytes of TCP connections wait, both ways, in their order. For kernels without netem: the connections of a
// network namespace are redirected to it (nft), and it goes on to where they were meant for.
//
// Ownership: a thread of its own inside the namespace, the sockets, and what waits: at most kMaxWaiting bytes a direction;
// beyond that it does not read. After an error a connection is closed on both sides. Threading: set_delay from any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"

namespace regroup::chaos {

class DelayProxy {
 public:
  static constexpr std::uint32_t kMark = 7;  // of its own outgoing packets (SO_MARK): the redirection leaves them alone
  static constexpr std::size_t kMaxWaiting = 4u << 20;

  // `network`: descriptor of a network namespace. kSystem.
  static Result<std::unique_ptr<DelayProxy>> start(int network);
  ~DelayProxy();
  DelayProxy(const DelayProxy&) = delete;
  DelayProxy& operator=(const DelayProxy&) = delete;

  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Of bytes that come from now on.
  void set_delay(Duration delay) { delay_ns_.store(delay.ns); }

 private:
  DelayProxy() = default;
  Status listen();
  void loop();

  Fd listener_, wake_read_, wake_write_;
  std::uint16_t port_ = 0;
  std::atomic<std::int64_t> delay_ns_{0};
  std::thread thread_;
};

}  // namespace regroup::chaos

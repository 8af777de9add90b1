// StateServer: serves the registered state of this member to a joiner, as of a mark, while the view waits at that mark.
// A listener and a few threads of its own; the control thread never touches large memory. Source of the method: PROTOCOL.md,
// Catch-up, in its first form (one source, everybody waits; bounded and reported).
// fetch_state: the joiner's side. Writes into the caller's buffers; after a failure they hold garbage and are fetched again.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"
#include "regroup/types.h"
#include "runtime/state/holder.h"

namespace regroup::state {

struct Served {
  std::uint64_t steps = 0;  // marks settled as of the op
};

class StateServer {
 public:
  struct Config {
    std::string group, secret;
    std::string host;               // numeric address to listen at
    std::vector<StateBuffer> state;
    // The state is as of `op` and is not being changed; asked again and again for at most `patience`.
    std::function<bool(OpId op)> stable_as_of;
    std::function<std::uint64_t()> steps;
    Duration patience = Duration::from_s(30);
    Holder* holder = nullptr;  // serves joiners that catch up as observers; null: none does here
  };
  // kSystem: cannot listen (where, and why).
  static Result<std::unique_ptr<StateServer>> start(Config config);
  ~StateServer();
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  explicit StateServer(Config config) : config_(std::move(config)) {}
  void loop();
  void serve(Fd connection);
  Config config_;
  Fd listener_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  struct Serving {
    std::thread thread;
    std::shared_ptr<std::atomic<bool>> over;
  };
  std::vector<Serving> serving_;  // of the listener's thread
  std::thread thread_;
};

// Fills `state` with what the member at host:port holds as of `op`. kConfig names the first buffer that differs;
// kUnavailable: the source is gone; kTimeout.
[[nodiscard]] Result<Served> fetch_state(const std::string& host, std::uint16_t port, const std::string& group,
                                         const std::string& secret, OpId op, std::span<const StateBuffer> state,
                                         Instant deadline, const std::atomic<bool>* stop);
// The same over a connection that stands.
[[nodiscard]] Result<Served> fetch_over(Fd connection, const std::string& group, const std::string& secret, OpId op,
                                        std::span<const StateBuffer> state, Instant deadline, const std::atomic<bool>* stop);

}  // namespace regroup::state

// Poller: epoll with a callback per descriptor. One thread. A callback may add and remove descriptors, itself included:
// events of a descriptor that was removed (or whose number was given anew) in the same round are not delivered.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>

#include "base/fd.h"
#include "base/result.h"

namespace regroup {

class Poller {
 public:
  using Callback = std::function<void(std::uint32_t events)>;
  [[nodiscard]] Status open();
  [[nodiscard]] Status add(int fd, std::uint32_t events, Callback callback);
  void change(int fd, std::uint32_t events);
  void remove(int fd);  // before the descriptor is closed
  // Waits at most `timeout_ms` and dispatches one batch. True: the batch was full, there may be more.
  bool wait(int timeout_ms);

 private:
  struct Entry {
    std::uint32_t generation;
    std::uint32_t events;
    std::shared_ptr<Callback> callback;
  };
  Fd epoll_;
  std::uint32_t next_generation_ = 1;
  std::unordered_map<int, Entry> entries_;
};

}  // namespace regroup

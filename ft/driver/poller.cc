#include "ft/driver/poller.h"

#include <array>
#include <cerrno>

#include "ft/driver/net.h"

namespace regroup {

Status Poller::open() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return net::system_error("epoll_create1", errno);
  return {};
}

Status Poller::add(int fd, std::uint32_t events, Callback callback) {
  const std::uint32_t generation = next_generation_++;
  epoll_event e{};
  e.events = events;
  e.data.u64 = std::uint64_t{generation} << 32 | static_cast<std::uint32_t>(fd);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) return net::system_error("epoll_ctl", errno);
  entries_[fd] = Entry{generation, events, std::make_shared<Callback>(std::move(callback))};
  return {};
}

void Poller::change(int fd, std::uint32_t events) {
  auto it = entries_.find(fd);
  if (it == entries_.end() || it->second.events == events) return;
  it->second.events = events;
  epoll_event e{};
  e.events = events;
  e.data.u64 = std::uint64_t{it->second.generation} << 32 | static_cast<std::uint32_t>(fd);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e);
}

void Poller::remove(int fd) {
  if (entries_.erase(fd) != 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
}

bool Poller::wait(int timeout_ms) {
  std::array<epoll_event, 128> events;
  const int n = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms);
  for (int i = 0; i < n; ++i) {
    const epoll_event& e = events[static_cast<std::size_t>(i)];
    auto it = entries_.find(static_cast<int>(e.data.u64 & 0xffffffffu));
    if (it == entries_.end() || it->second.generation != e.data.u64 >> 32) continue;
    const std::shared_ptr<Callback> callback = it->second.callback;  // it may remove itself
    (*callback)(e.events);
  }
  return n == static_cast<int>(events.size());
}

}  // namespace regroup

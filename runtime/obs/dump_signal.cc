#include "runtime/obs/dump_signal.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>

namespace regroup {
namespace {

std::atomic<std::uint32_t> requests{0};
std::mutex users_mutex;
int users = 0;
struct sigaction earlier;  // written before our handler can run, kept afterwards: it may still be running

void on_signal(int number, siginfo_t* info, void* context) {
  requests.fetch_add(1, std::memory_order_relaxed);
  const int saved_errno = errno;
  if ((earlier.sa_flags & SA_SIGINFO) != 0) {
    if (earlier.sa_sigaction != nullptr) earlier.sa_sigaction(number, info, context);
  } else if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN) {
    earlier.sa_handler(number);
  }  // the default would end the process: that is what the trace replaces
  errno = saved_errno;
}

bool is_ours(const struct sigaction& action) {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == on_signal;
}

}  // namespace

Result<std::unique_ptr<DumpSignal>> DumpSignal::install() {
  const std::lock_guard lock(users_mutex);
  struct sigaction current {};
  if (::sigaction(SIGUSR1, nullptr, &current) != 0)
    return {Code::kSystem, std::string("SIGUSR1 handler: ") + std::strerror(errno)};
  if (users == 0 && !is_ours(current)) {
    earlier = current;
    struct sigaction ours {};
    ours.sa_sigaction = on_signal;
    ours.sa_flags = SA_SIGINFO | SA_RESTART;
    ::sigemptyset(&ours.sa_mask);
    if (::sigaction(SIGUSR1, &ours, nullptr) != 0)
      return {Code::kSystem, std::string("SIGUSR1 handler: ") + std::strerror(errno)};
  }
  ++users;
  return std::unique_ptr<DumpSignal>(new DumpSignal(requests.load(std::memory_order_relaxed)));
}

DumpSignal::~DumpSignal() {
  const std::lock_guard lock(users_mutex);
  if (--users != 0) return;
  struct sigaction current {};
  if (::sigaction(SIGUSR1, nullptr, &current) == 0 && is_ours(current)) ::sigaction(SIGUSR1, &earlier, nullptr);
}

bool DumpSignal::taken() noexcept {
  const std::uint32_t count = requests.load(std::memory_order_relaxed);
  if (count == seen_) return false;
  seen_ = count;
  return true;
}

}  // namespace regroup

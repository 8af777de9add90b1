#include "bench/interrupt.h"

#include <signal.h>

#include <atomic>

namespace regroup::bench {
namespace {

std::atomic<int> last_signal{0};

void on_signal(int signal) { last_signal.store(signal); }

}  // namespace

void watch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

int interrupted() { return last_signal.load(); }

}  // namespace regroup::bench

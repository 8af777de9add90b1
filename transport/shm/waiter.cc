#include "transport/shm/waiter.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

namespace regroup::shm {
namespace {

// The low half of a tag: it changes whenever the word does (words rise by less than 2^32 between two looks).
const std::uint32_t* futex_word(const std::atomic<Tag>& word) { return reinterpret_cast<const std::uint32_t*>(&word); }

}  // namespace

void wake_all(const std::atomic<Tag>& word) {
  ::syscall(SYS_futex, futex_word(word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void Waiter::yield() { ::sched_yield(); }

void Waiter::sleep(const std::atomic<Tag>& word, Tag seen) {
  mine_.sleeping.store(1, std::memory_order_seq_cst);
  full_fence();  // either the waker sees that we sleep, or we see its store
  if (word.load(std::memory_order_acquire) == seen) {
    const timespec limit{0, 2'000'000};
    ::syscall(SYS_futex, futex_word(word), FUTEX_WAIT, static_cast<std::uint32_t>(seen), &limit, nullptr, 0);
  }
  mine_.sleeping.store(0, std::memory_order_relaxed);
}

// On all of them at once, where the kernel can (5.16); else for a moment.
void Waiter::sleep_any(std::span<const Watch> words, bool poll) {
  constexpr std::size_t kMost = 32;
  futex_waitv waits[kMost] = {};
  const std::size_t n = std::min(words.size(), kMost);
  mine_.sleeping.store(1, std::memory_order_seq_cst);
  full_fence();  // either the waker sees that we sleep, or we see its store
  bool same = true;
  for (std::size_t i = 0; i < words.size(); ++i) same = same && words[i].word->load(std::memory_order_acquire) == words[i].seen;
  for (std::size_t i = 0; i < n; ++i) {
    waits[i].val = static_cast<std::uint32_t>(words[i].seen);
    waits[i].uaddr = reinterpret_cast<std::uintptr_t>(futex_word(*words[i].word));
    waits[i].flags = FUTEX_32;
  }
  if (same) {
    const bool whole = n == words.size() && n != 0 && !poll;
    timespec until{};
    ::clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += whole ? 2'000'000 : 100'000;
    if (until.tv_nsec >= 1'000'000'000) until.tv_nsec -= 1'000'000'000, ++until.tv_sec;
    const long got = n == 0 ? -1 : ::syscall(SYS_futex_waitv, waits, n, 0, &until, CLOCK_MONOTONIC);
    if (n == 0 || (got < 0 && errno == ENOSYS)) {
      const timespec moment{0, 100'000};
      ::nanosleep(&moment, nullptr);
    }
  }
  mine_.sleeping.store(0, std::memory_order_relaxed);
}

}  // namespace regroup::shm

#include "transport/shm/waiter.h"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

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

}  // namespace regroup::shm

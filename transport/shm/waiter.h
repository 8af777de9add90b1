// Waiter: waits for a peer's word to rise. Spins a little, yields where ranks exceed cores, then sleeps in the kernel on the
// word itself (a futex wait works on a read-only mapping), always timed: the waker may die between its store and its wake.
//
// The sleeper says so in its own SleepLine; whoever raises a word looks at its peers' SleepLines and wakes only if somebody
// sleeps, so the fast path makes no system call. One waiter per member (the holder of the execution token).
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "base/clock.h"
#include "base/fence.h"
#include "transport/shm/exchange_time.h"
#include "transport/shm/words.h"

namespace regroup::shm {

// Wakes everybody who sleeps on the word.
void wake_all(const std::atomic<Tag>& word);

class Waiter {
 public:
  explicit Waiter(SleepLine& mine) : mine_(mine) {}
  void set_oversubscribed(bool yes) { oversubscribed_ = yes; }

  // Until ready(value of word), or give_up(waited) is true. give_up is asked now and then, never less than each 2 ms; it is
  // given the time waited so far. Returns whether ready.
  // `timed`: not null, is told what the looks at the word cost.
  template <class Ready, class GiveUp>
  bool wait(const std::atomic<Tag>& word, Ready ready, GiveUp give_up, ExchangeTime* timed = nullptr) {
    if (ready(word.load(std::memory_order_acquire))) return true;
    const int spins = oversubscribed_ ? 4 : 4000;
    for (int i = 1; i <= spins; ++i) {
      cpu_pause();
      if (timed == nullptr ? ready(word.load(std::memory_order_acquire)) : timed_look(word, ready, *timed)) return true;
      if (i % 256 == 0 && give_up(Duration{})) return false;
    }
    const Instant start = now();
    for (int round = 0;; ++round) {
      if (give_up(now() - start)) return false;
      const Tag seen = word.load(std::memory_order_acquire);
      if (ready(seen)) return true;
      if (round < (oversubscribed_ ? 100 : 8)) yield();
      else sleep(word, seen);
    }
  }

  template <class Ready>
  static bool timed_look(const std::atomic<Tag>& word, Ready ready, ExchangeTime& timed) {
    const Instant begin = now();
    const Tag seen = word.load(std::memory_order_acquire);
    const Duration took = now() - begin;  // reading the clock waits for the load
    ready(seen) ? timed.look(took) : timed.idle_look(took);
    return ready(seen);
  }

  struct Watch {
    const std::atomic<Tag>* word;
    Tag seen;
  };
  // The same until one of the words is no longer what was seen, or `poll`: what is waited for has no word yet.
  template <class GiveUp>
  bool wait_any(std::span<const Watch> words, bool poll, GiveUp give_up) {
    const auto changed = [&] {
      for (const Watch& w : words)
        if (w.word->load(std::memory_order_acquire) != w.seen) return true;
      return false;
    };
    const int spins = oversubscribed_ ? 4 : 4000;
    for (int i = 1; i <= spins; ++i) {
      if (changed()) return true;
      cpu_pause();
      if (i % 256 == 0 && give_up(Duration{})) return false;
    }
    const Instant start = now();
    for (int round = 0;; ++round) {
      if (give_up(now() - start)) return false;
      if (changed()) return true;
      if (round < (oversubscribed_ ? 100 : 8)) {
        yield();
      } else {
        sleep_any(words, poll);
        if (poll) return true;
      }
    }
  }

 private:
  static void yield();
  void sleep(const std::atomic<Tag>& word, Tag seen);
  void sleep_any(std::span<const Watch> words, bool poll);
  SleepLine& mine_;
  bool oversubscribed_ = false;
};

}  // namespace regroup::shm

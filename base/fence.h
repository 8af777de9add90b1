// The one helper for stand-alone fences: acquire and release stand on the flag itself wherever they can (TSan cannot see a fence).
#pragma once

#include <atomic>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace regroup {

// Orders all earlier loads and stores before all later ones (store-load included).
inline void full_fence() noexcept {
#if defined(__SANITIZE_THREAD__)
  static std::atomic<int> word{0};
  word.fetch_add(1, std::memory_order_seq_cst);
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

// Orders all earlier loads before all later loads and stores.
inline void read_fence() noexcept {
#if defined(__SANITIZE_THREAD__)
  full_fence();
#else
  std::atomic_thread_fence(std::memory_order_acquire);
#endif
}

// Makes non-temporal stores visible before a later flag store.
inline void stream_fence() noexcept {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

inline void cpu_pause() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace regroup

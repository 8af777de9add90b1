// Memory that a harness shares with the processes it starts (a memfd that they inherit), and rings in it. What a process
// wrote is still there after it was killed. A ring has one writer and one reader, of any two processes; release on head and
// tail. Layout is private to one build.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

namespace regroup::chaos {

template <typename T, std::size_t N>
struct Ring {
  alignas(64) std::atomic<std::uint64_t> head{0};  // written
  alignas(64) std::atomic<std::uint64_t> tail{0};  // read
  std::array<T, N> items;

  bool push(const T& item) {
    const std::uint64_t at = head.load(std::memory_order_relaxed);
    if (at - tail.load(std::memory_order_acquire) >= N) return false;
    items[at % N] = item;
    head.store(at + 1, std::memory_order_release);
    return true;
  }
  template <typename F>
  void drain(F take) {
    const std::uint64_t end = head.load(std::memory_order_acquire);
    for (std::uint64_t at = tail.load(std::memory_order_relaxed); at < end; ++at) take(items[at % N]);
    tail.store(end, std::memory_order_release);
  }
};

// Maps a Page from `fd`; null when that fails. `create` sizes and initialises it. `flags`: of mmap, besides MAP_SHARED.
template <typename Page>
Page* map_shared(int fd, bool create, int flags = 0) {
  if (create && ::ftruncate(fd, sizeof(Page)) != 0) return nullptr;
  void* memory = ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);
  if (memory == MAP_FAILED) return nullptr;
  return create ? new (memory) Page() : static_cast<Page*>(memory);
}

}  // namespace regroup::chaos

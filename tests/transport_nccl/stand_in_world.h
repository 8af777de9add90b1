// World: the memory through which the ranks of a communicator of the stand-in exchange chunks, as threads or processes.
// Every rank writes its own slot only. Whoever waits looks at a flag that ends the waiting.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>

namespace stand_in {

inline constexpr int kMostRanks = 16;
inline constexpr std::size_t kChunk = 64u << 10;

struct Slot {
  alignas(64) std::atomic<std::uint64_t> filled;  // chunks that it has put here
  alignas(64) std::atomic<std::uint64_t> used;    // chunks of all that it has taken
  std::byte data[kChunk];
};

class World {
 public:
  struct Memory {
    std::atomic<int> joined;
    Slot slots[kMostRanks];
  };
  World(std::string name, int rank, int ranks) : name_(std::move(name)), rank_(rank), ranks_(ranks) {
    const int fd = ::shm_open(name_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ::ftruncate(fd, sizeof(Memory)) != 0) return;
    void* at = ::mmap(nullptr, sizeof(Memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ::close(fd);
    if (at == MAP_FAILED) return;
    memory_ = static_cast<Memory*>(at);
    if (memory_->joined.fetch_add(1) + 1 == ranks_) ::shm_unlink(name_.c_str());  // all have it
  }
  ~World() {
    if (memory_ == nullptr) return;
    if (!whole()) ::shm_unlink(name_.c_str());
    ::munmap(memory_, sizeof(Memory));
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  [[nodiscard]] bool there() const { return memory_ != nullptr; }
  [[nodiscard]] bool whole() const { return memory_->joined.load() >= ranks_; }
  [[nodiscard]] const std::byte* slot(int rank) const { return memory_->slots[rank].data; }

  // Puts a chunk of mine, waits for everybody's, lets `take` look at all, gives them back. False: `stop` was raised.
  bool exchange(const std::byte* mine, std::size_t bytes, const std::atomic<bool>& stop,
                const std::function<void()>& take) {
    Slot& own = memory_->slots[rank_];
    const std::uint64_t n = own.filled.load();
    const auto all = [&](auto word, std::uint64_t at_least) {
      for (int r = 0; r < ranks_; ++r)
        for (int turns = 0; (memory_->slots[r].*word).load() < at_least; ++turns) {
          if (stop.load()) return false;
          turns < 100 ? void(::sched_yield()) : void(::usleep(50));
        }
      return !stop.load();
    };
    if (!all(&Slot::used, n)) return false;
    if (mine != nullptr) std::memcpy(own.data, mine, bytes);
    own.filled.store(n + 1);
    if (!all(&Slot::filled, n + 1)) return false;
    take();
    own.used.store(n + 1);
    return true;
  }

 private:
  std::string name_;
  int rank_, ranks_;
  Memory* memory_ = nullptr;
};

}  // namespace stand_in

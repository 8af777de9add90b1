// Death words: memory that the kernel marks when a thread dies, before it tears the process down (its sockets and pidfd
// tell ~100 ms per resident GiB later).
//
// A slot holds a robust, process-shared mutex that the control thread locks for the life of its incarnation. Who maps
// the slot reads the futex word: an owner's tid in it means alive; FUTEX_OWNER_DIED, or no owner, means over. A
// DeathPage has one slot and is handed to peers of the host read-only. A DeathTable is the launcher's: one slot per
// rank, inherited through REGROUP_DEATH_FD, so that `regroup run` sees deaths at once.
//
// Ownership: both own their mapping; the page must outlive the thread that locked it (unmap after join). Threading:
// begin and end on the control thread; reads from anywhere. After a fork the child has neither mapping nor lock.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"

namespace regroup {

struct alignas(128) DeathSlot {
  pthread_mutex_t mutex;
  std::atomic<std::uint64_t> inc_hi, inc_lo;
  std::atomic<std::int32_t> pid;  // as the owner sees itself
};

struct DeathReading {
  Incarnation inc;  // null: nobody has begun here
  std::int32_t pid = 0;
  bool alive = false;  // an owner holds the word
  bool died = false;      // its owner ended without giving it back, so the kernel marked it; not after a plain end
};
[[nodiscard]] DeathReading read_slot(const DeathSlot& slot);
// Alive and still this incarnation's.
[[nodiscard]] bool is_alive(const DeathSlot& slot, const Incarnation& inc);

// The calling thread's life becomes that of `inc`. False: somebody else lives in this slot.
[[nodiscard]] bool begin_life(DeathSlot& slot, const Incarnation& inc);
void end_life(DeathSlot& slot);  // by the thread that began it

// One mapping of a memfd of slots; read-only or writable.
class SlotMap {
 public:
  SlotMap() = default;
  SlotMap(SlotMap&& other) noexcept
      : at_(std::exchange(other.at_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        count_(std::exchange(other.count_, 0)) {}
  SlotMap& operator=(SlotMap&& other) noexcept {
    std::swap(at_, other.at_), std::swap(bytes_, other.bytes_), std::swap(count_, other.count_);
    return *this;
  }
  ~SlotMap();
  // Refuses what is not a memfd of whole slots sealed against shrinking (a reader of a lost page would die of SIGBUS).
  static Result<SlotMap> map(int fd, bool writable);
  [[nodiscard]] std::size_t count() const { return count_; }
  [[nodiscard]] DeathSlot& slot(std::size_t i) { return static_cast<DeathSlot*>(at_)[i]; }
  [[nodiscard]] const DeathSlot& slot(std::size_t i) const { return static_cast<const DeathSlot*>(at_)[i]; }
  explicit operator bool() const { return at_ != nullptr; }

 private:
  void* at_ = nullptr;
  std::size_t bytes_ = 0, count_ = 0;
};

class DeathPage {
 public:
  static Result<DeathPage> create();
  [[nodiscard]] DeathSlot& slot() { return map_.slot(0); }
  [[nodiscard]] int read_only_fd() const { return read_only_.get(); }  // for peers

 private:
  DeathPage() = default;
  SlotMap map_;
  Fd read_only_;
};

class DeathTable {
 public:
  static constexpr const char* kVariable = "REGROUP_DEATH_FD";
  // The launcher's: n slots. Its descriptor stays open over exec where the launcher clears close-on-exec.
  static Result<DeathTable> create(std::size_t n);
  // The member's: from REGROUP_DEATH_FD. kUnavailable: not set; kConfig: set, but not such a table.
  static Result<DeathTable> inherited();
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::size_t count() const { return map_.count(); }
  [[nodiscard]] DeathSlot& slot(std::size_t rank) { return map_.slot(rank); }
  [[nodiscard]] DeathReading read(std::size_t rank) const { return read_slot(map_.slot(rank)); }
  // Before the rank is started again, when its last owner is dead: nobody has begun here.
  void reset(std::size_t rank);

 private:
  DeathTable() = default;
  SlotMap map_;
  Fd fd_;  // the launcher's; a member needs only the mapping
};

}  // namespace regroup

// FlightRecorder: a ring of the last events of every op and view change, dumped as JSON lines (oldest first).
//
// Ownership: one per group; owns its ring, which is allocated at construction and never again. Threading: record() from
// any thread, lock-free, no allocation, no system call; dump() from any thread while others record; trace_to() before
// the group runs; tick() from one thread (the control thread, about every 20 ms). Not for signal handlers: those only
// raise a request (dump_signal.h), which tick() answers.
// After a failure: an entry that is overwritten while it is read, or that two writers a whole ring apart wrote at once,
// fails its check word and is left out of the dump, never shown torn. Nothing here fails an operation.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "runtime/obs/dump_signal.h"
#include "runtime/obs/ticks.h"

namespace regroup {

// Names are the dump's; append only. `arg` of record() in brackets.
enum class Event : std::uint8_t {
  kSubmitted = 0,  // an op got its number
  kStarted,        // execution began in this epoch [attempt]
  kPlaced,         // my shard stands
  kPrepared,       // the whole result stands here
  kCommitted,      // the commit rule, or a decision, committed it
  kReleased,       // copied out, the caller's buffers are its own again
  kRedone,         // a decision sends it round again with the new members [attempt]
  kFailed,         // a decision failed it, or it was withdrawn [Code]
  kStep,           // a step began
  kWedge,          // frozen: nothing rises in this epoch any more (op: prepared)
  kInstall,        // entered the epoch (op: trim) [members]
  kSuspect,        // told the coordinator that somebody is dead or unreachable [replica]
  kRestored,       // registered state was overwritten with that of a member (op: the mark) [replica of the source]
  kCut,            // planned change: reached the mark `op`
  kEvicted,        // the view went on without us
  kLinkUp,         // connected to the coordinator
  kLinkDown,       // no coordinator
  kTimeout,        // a wait's bound passed (op: it) []
  kEnded,          // this incarnation is over [Code]
  kCount
};
[[nodiscard]] const char* name_of(Event event);

class FlightRecorder {
 public:
  struct Entry {
    std::int64_t time_ns = 0;  // CLOCK_MONOTONIC, comparable between the processes of a host
    OpId op = 0;
    Epoch epoch = 0;  // low 40 bits
    Event event = Event::kSubmitted;
    std::uint16_t arg = 0;
  };

  // `entries` is rounded up to a power of two (32 bytes each).
  explicit FlightRecorder(std::size_t entries = 4096);
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  void record(Event event, OpId op, Epoch epoch, std::uint16_t arg = 0) noexcept {
    const std::uint64_t ticket = next_.fetch_add(1, std::memory_order_relaxed);
    Slot& slot = slots_[ticket & mask_];
    const std::uint64_t time = clock_.read();
    const std::uint64_t word = epoch << 24 | std::uint64_t{static_cast<std::uint8_t>(event)} << 16 | arg;
    slot.time.store(time, std::memory_order_relaxed);
    slot.op.store(op, std::memory_order_relaxed);
    slot.word.store(word, std::memory_order_relaxed);
    slot.check.store(check_of(ticket, time, op, word), std::memory_order_relaxed);
  }

  // Whole entries, oldest first.
  [[nodiscard]] std::vector<Entry> entries() const;
  // JSON lines: a head (who, how many events were recorded and are no longer here), then one line an event.
  [[nodiscard]] std::string dump() const;
  // The same into a file, which appears whole or not at all (written beside it, then renamed). kSystem.
  [[nodiscard]] Status dump_to(const std::string& path) const;

  // Who writes, for the head of the dump: "rank=2".
  void set_label(std::string label) { label_ = std::move(label); }
  // From now on tick() writes `path` when SIGUSR1 came or request_dump() was called. Installs the handler (chained to
  // the one that was there, taken out with the last recorder that traces). Empty path: no tracing.
  [[nodiscard]] Status trace_to(std::string path);
  // A bound expired, or the like: dump at the next tick. Any thread.
  void request_dump() noexcept { requested_.store(true, std::memory_order_relaxed); }
  // True when it wrote the file. A failed write is logged once.
  bool tick();

 private:
  struct Slot {
    std::atomic<std::uint64_t> time{0}, op{0}, word{0}, check{0};
  };
  static_assert(sizeof(Slot) == 32);
  // Binds a slot's words to each other and to the ticket, so no order between the stores is needed.
  static std::uint64_t check_of(std::uint64_t ticket, std::uint64_t time, std::uint64_t op,
                                std::uint64_t word) noexcept {
    return (ticket + 1) * 0x9e3779b97f4a7c15ull ^ time ^ (op << 21 | op >> 43) ^ (word << 42 | word >> 22);
  }

  const std::uint64_t mask_;
  std::unique_ptr<Slot[]> slots_;
  const TickClock clock_;
  std::string label_;
  std::string path_;
  std::unique_ptr<DumpSignal> signal_;
  bool write_failed_ = false;
  std::atomic<bool> requested_{false};
  alignas(64) std::atomic<std::uint64_t> next_{0};
};

// The file of one process: PREFIX.rank-R.pid-P.jsonl, so that a restarted rank does not overwrite its former life's.
[[nodiscard]] std::string trace_path(const std::string& prefix, int rank);

}  // namespace regroup

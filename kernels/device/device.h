// Device: memory, streams, events, flags and launches behind one interface. Implementations: the host device
// (host_device.h: queues with a thread each, for machines without a GPU and for tests that want late, reordered or failing
// completions) and CUDA. A plan that runs on one runs on the other.
//
// A stream carries out its steps one after another; streams among themselves only wait where a step says so. Nothing here
// blocks but what is given a deadline. Ownership: a Device outlives what it made; memory may be freed when no step that
// uses it is under way; whoever drops a Stream has its steps dropped that have not begun, and waits for the one that has.
// Threading: a Stream is used by one thread at a time, everything else by any.
// After a failure: a step that fails makes its device lost, for good (as a sticky CUDA error): every later call says kLost's
// first cause, steps that have not begun are dropped, no flag rises and no event is reached any more.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>

#include "base/result.h"
#include "base/time.h"

namespace regroup::device {

// kPinned: host memory that copies of this device reach without staging. kDevice: on a GPU not readable by the host.
enum class Memory : std::uint8_t { kHost, kPinned, kDevice };

// Those of launches.h, which a GPU knows; kForeign: a function of the host device only.
enum class KernelId : std::uint8_t { kForeign, kReduce, kCopy, kDigest, kDivide, kPieces, kQuantise, kDequantiseAdd };

// A kernel with its arguments: on a GPU `kernel` with `ctas` blocks of `threads`, on the host device `host`. Arguments
// are one trivially copyable struct, copied here. `ctas`: how much of a device a launch may take; the bits do not depend on it.
struct Launch {
  static constexpr std::size_t kMaxBytes = 512;
  using HostTwin = void (*)(const void* arguments);
  HostTwin host = nullptr;
  KernelId kernel = KernelId::kForeign;
  std::uint32_t ctas = 1, threads = 512;
  alignas(8) std::array<std::byte, kMaxBytes> arguments;

  template <class Arguments>
  static Launch of(HostTwin twin, const Arguments& a) {
    static_assert(std::is_trivially_copyable_v<Arguments> && sizeof(Arguments) <= kMaxBytes);
    Launch launch;
    launch.host = twin;
    std::memcpy(launch.arguments.data(), &a, sizeof a);
    return launch;
  }
};

// A word that host and device both see (mapped host memory). Rises only; written by a stream or by the host of this
// process, never by a peer.
struct Flag {
  std::atomic<std::uint32_t>* word = nullptr;
  void raise(std::uint32_t value) const { word->store(value, std::memory_order_release); }
  [[nodiscard]] std::uint32_t value() const { return word->load(std::memory_order_acquire); }
};

// Device memory that may be read through other devices: of other ranks of this process, and of other processes of its host.
// Plain bytes, for words in shared memory.
struct Loan {
  std::uint32_t maker = 0;     // whose ticket it is: the kind of device that can open it; 0: nothing is lent
  std::uint64_t id = 0;        // of the allocation; no other one of its lender has it later
  std::uint64_t bytes = 0;     // of the allocation
  std::uint64_t offset = 0;    // in it, of what was asked for
  alignas(8) std::array<std::byte, 88> ticket{};
};

// A place in a stream, by record(). Before the first record() it counts as reached.
class Event {
 public:
  virtual ~Event() = default;
  [[nodiscard]] virtual Result<bool> reached() const = 0;
};

class Stream {
 public:
  virtual ~Stream() = default;
  virtual Status copy(void* to, const void* from, std::size_t bytes) = 0;  // any two memories of this device
  virtual Status zero(void* at, std::size_t bytes) = 0;
  virtual Status launch(const Launch& kernel) = 0;
  virtual Status record(Event& event) = 0;            // of this device
  virtual Status wait(const Event& event) = 0;        // for what is recorded in it now
  virtual Status raise(Flag flag, std::uint32_t value) = 0;
  virtual Status wait(Flag flag, std::uint32_t at_least) = 0;
  // On a thread of the device's, briefly, and without a call to it. Not called once the device is lost.
  virtual Status call(std::function<void()> function) = 0;
  // Steps are being recorded for later (a CUDA graph), not carried out.
  [[nodiscard]] virtual Result<bool> capturing() const = 0;
  // kTimeout: steps are still under way.
  virtual Status finish(Instant deadline) = 0;
  // For libraries that queue steps of their own: a cudaStream_t; of the host device a HostQueue*.
  [[nodiscard]] virtual void* native() = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  [[nodiscard]] virtual const char* name() const = 0;  // "host", "cuda:0 NVIDIA ..."
  // Its kDevice is memory that any function of the host reads and writes too.
  [[nodiscard]] virtual bool host_reads() const = 0;
  virtual Result<void*> allocate(Memory kind, std::size_t bytes) = 0;  // aligned to 256 bytes; kNoMemory
  virtual void free(Memory kind, void* memory) = 0;
  // kInvalid: `memory` is not of this device (a pointer into an allocation counts).
  [[nodiscard]] virtual Result<Memory> kind_of(const void* memory) const = 0;
  // For who shares this memory's GPU or reaches it from its own. kUnsupported: this memory cannot be lent; kInvalid: it is
  // not of this device, or not kDevice.
  virtual Result<Loan> lend(const void* memory) = 0;
  // The allocation that somebody lent, to be read here until close(), whatever becomes of its owner. kUnsupported: this
  // device cannot reach it; kUnavailable: it is gone. close() may wait for streams of the whole device.
  virtual Result<const std::byte*> open(const Loan& loan) = 0;
  virtual void close(const std::byte* allocation) = 0;
  virtual Result<Flag> make_flag() = 0;  // 0; lives as long as the device
  virtual Result<std::unique_ptr<Event>> make_event() = 0;
  virtual Result<std::unique_ptr<Stream>> make_stream() = 0;
  // A stream of the caller's by its native(), which stays the caller's. kInvalid: it is none of this device.
  virtual Result<std::unique_ptr<Stream>> borrow(void* native) = 0;
  // A stream that waits for a word may hold up others (probe.h finds out).
  [[nodiscard]] virtual bool may_stall() const = 0;
  // Makes it the calling thread's, for libraries that ask which that is (NCCL).
  virtual Status enter() { return {}; }
  // The same until what this returns is dropped; null: there is nothing to do.
  [[nodiscard]] virtual std::shared_ptr<void> scope() { return nullptr; }
  // kOk, or why it is lost.
  [[nodiscard]] virtual Status health() const = 0;
};

}  // namespace regroup::device

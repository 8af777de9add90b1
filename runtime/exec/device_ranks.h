// Collectives of ranks that share one device, on its buffers and streams: an algo::Plan carried out by pulling
// (DATA_PATH.md, GPU).
//
// A rank writes its own memory only: its scratch (what it places), its staging (its whole result) and its output. The
// thread that calls turn() looks at flags in host memory and queues short kernels and copies when a chunk can be made
// or fetched; no kernel waits for a peer. Streams: the op begins after what the caller's stream held; the caller's
// stream then waits for a word that only our own thread writes, and for nobody else; the copy-out is queued behind that
// and does nothing unless the word's verdict is commit. prepared means that the whole result stands in my own staging.
// The commit rule itself is the user's: it is asked for through prepared_by_all() and answered with settle().
// Ownership: the board outlives its ranks, the device all. Threading: a rank and its streams belong to one thread at a
// time. After a failure (a lost device): every call says so, outputs are what they were or what was committed, nobody
// waits.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/result.h"
#include "kernels/device/device.h"
#include "runtime/algo/plan.h"

namespace regroup {

// What the ranks of one view see of one another. A rank's words rise by steps of its own streams.
class DeviceBoard {
 public:
  static Result<std::unique_ptr<DeviceBoard>> make(device::Device& device, std::size_t ranks);
  struct Rank {
    device::Flag ready;     // op whose input may be read
    device::Flag placed;    // chunks of the op at hand that stand in scratch, counted on from op to op
    device::Flag prepared;  // op whose whole result stands in its staging
    std::atomic<const std::byte*> input{nullptr};    // of that op: set before `ready` can rise
    std::atomic<const std::byte*> scratch{nullptr};  // likewise
  };
  [[nodiscard]] std::size_t size() const { return ranks_.size(); }
  Rank& at(std::size_t i) { return *ranks_[i]; }

 private:
  std::vector<std::unique_ptr<Rank>> ranks_;
};

class DeviceRank {
 public:
  struct Config {
    std::size_t chunk_bytes = 1u << 20;
    std::uint32_t ctas = 2;
    std::uint32_t ahead = 2;  // folds that are queued and not done
  };
  static Result<std::unique_ptr<DeviceRank>> make(device::Device& device, DeviceBoard& board, std::size_t self,
                                                  Config config);
  ~DeviceRank();
  DeviceRank(const DeviceRank&) = delete;
  DeviceRank& operator=(const DeviceRank&) = delete;

  // Queues op `number` (one at a time, rising) on the caller's stream. kInvalid: a buffer is not of this device;
  // kUnsupported: a table of its own, or more ranks than a kernel takes.
  Status start(std::uint32_t number, const OpDesc& desc, std::size_t root, const void* in, void* out,
               device::Stream& caller);
  // Queues what can be queued; never waits. True: the op at hand is prepared here.
  Result<bool> turn();
  [[nodiscard]] bool prepared_by_all() const;
  // The op is over: the caller's stream goes on, with the result or, where it is not committed, without it. Not
  // committed: others may still read what is mine, so this board takes no further op (a view change makes another).
  void settle(bool commit);

 private:
  DeviceRank(device::Device& device, DeviceBoard& board, std::size_t self, Config config);
  struct Buffer {
    std::byte* at = nullptr;
    std::size_t bytes = 0;
  };
  Status grow(Buffer& buffer, std::size_t bytes);
  Status open();
  Status fold_some();
  Status fetch_some();
  [[nodiscard]] std::uint32_t chunks_of(std::size_t bytes) const {
    return static_cast<std::uint32_t>((bytes + config_.chunk_bytes - 1) / config_.chunk_bytes);
  }

  device::Device& device_;
  DeviceBoard& board_;
  std::size_t self_;
  Config config_;
  std::unique_ptr<device::Stream> fold_, fetch_;
  std::unique_ptr<device::Event> begun_, out_done_;
  device::Flag decided_, verdict_;  // verdict_: the last op that was committed
  Buffer scratch_, staging_;
  // The op at hand.
  std::uint32_t op_ = 0;
  OpDesc desc_;
  algo::Plan plan_;
  std::vector<std::uint32_t> placed_before_;  // by rank: chunks of earlier ops
  std::vector<std::uint32_t> chunks_;         // by rank: of this op, counted when the next begins
  std::vector<std::size_t> fetched_;          // by rank: bytes of its take
  std::uint32_t folded_ = 0;                  // chunks of mine that are queued
  bool prepared_queued_ = true, settled_ = true, over_ = false;
};

}  // namespace regroup

// DeviceRank: what a member has to carry out algo::Plans on device buffers by pulling, with others that lend it theirs
// (DATA_PATH.md, GPU): streams of its own, scratch for what it places, and what it has opened of its peers.
//
// A rank writes its own memory only: its scratch, the word that says how much of it stands, and the result it is given (staging
// of its own). turn() looks at words in host memory and queues short kernels and copies when a chunk can be made or fetched;
// no kernel waits for a peer. prepared means that the whole result stands in my own staging. The caller's stream, the commit
// rule and the copy-out are others' (DeviceStage, Plane).
// A job that is given up needs no word: what it has queued ends before the next one's steps begin, writing only memory of mine
// that the next one writes after it. What it still reads of a peer is garbage at worst, of a job that nobody counts.
// Ownership: holds the device; what it has opened stays open until the steps that read it have ended. Threading: the holder of
// the execution token, but for reserve(). After a lost device: every call says so.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "kernels/device/device.h"
#include "runtime/algo/plan.h"
#include "transport/cuda_ipc/imports.h"
#include "transport/shm/words.h"

namespace regroup {

class DeviceRank {
 public:
  struct Config {
    std::size_t chunk_bytes = 8u << 20;
    std::uint32_t ctas = 32;
    std::uint32_t ahead = 4;     // folds that are queued and not done
    std::size_t most_open = 64;  // allocations of a peer
  };
  static Result<std::unique_ptr<DeviceRank>> make(std::shared_ptr<device::Device> device, Config config);
  ~DeviceRank();
  DeviceRank(const DeviceRank&) = delete;
  DeviceRank& operator=(const DeviceRank&) = delete;

  [[nodiscard]] device::Device& device() { return *device_; }
  [[nodiscard]] cuda_ipc::Imports& imports() { return *imports_; }
  [[nodiscard]] const std::shared_ptr<device::Stream>& reader() { return fold_; }  // of inputs
  // Scratch of at least so many bytes, the largest that there is. It grows by new memory: the smaller one stays, for who still
  // reads it. Any thread; best asked for by the caller's before an op is submitted, since allocating may wait for streams that
  // wait for the op.
  Result<std::byte*> reserve(std::size_t bytes);

  struct Peer {
    const std::byte* input = nullptr;    // null where nothing of it is read
    const std::byte* scratch = nullptr;  // likewise
    const std::atomic<shm::Tag>* placed = nullptr;
  };
  struct Job {  // all that it points to stays while the job is at hand
    OpDesc desc;
    const algo::Plan* plan = nullptr;
    std::size_t self = 0;
    Epoch epoch = 0;
    std::vector<Peer> peers;            // by member, I among them
    std::atomic<shm::Tag>* placed = nullptr;  // mine
    std::byte* result = nullptr;
  };
  // All inputs stand. At most kMaxSources members.
  void start(Job job);
  // Queues what can be queued; never waits. True: the whole result stands.
  Result<bool> turn();
  [[nodiscard]] std::uint32_t chunks_placed() const;  // of mine, of the job at hand

 private:
  DeviceRank(std::shared_ptr<device::Device> device, Config config);
  Status open();
  Status fold_some();
  Status fetch_some();
  [[nodiscard]] std::uint32_t chunks_of(std::size_t bytes) const {
    return static_cast<std::uint32_t>((bytes + config_.chunk_bytes - 1) / config_.chunk_bytes);
  }

  std::shared_ptr<device::Device> device_;
  Config config_;
  std::shared_ptr<device::Stream> fold_, fetch_;
  device::Flag placed_, prepared_;  // chunks that I ever placed; jobs whose result stands
  struct Buffer {
    std::byte* at = nullptr;
    std::size_t bytes = 0;
  };
  std::mutex scratch_mutex_;
  std::vector<Buffer> scratch_;  // rising; below scratch_mutex_
  std::unique_ptr<cuda_ipc::Imports> imports_;
  // The job at hand.
  Job job_;
  std::uint32_t placed_before_ = 0, folded_ = 0;  // chunks of earlier jobs; of this one, queued
  std::uint32_t jobs_ = 0;
  std::vector<std::size_t> fetched_;  // by member: bytes of its take
  bool prepared_queued_ = true;
};

}  // namespace regroup

// NcclRoom: what one communicator works in and nobody else meanwhile: a stream, memory of the device for input and
// result, pinned memory that the host fills and reads, and a word that says how far the stream is.
// NcclRooms: makes, enlarges and takes back rooms, on a thread of its own, since such calls of a GPU may wait for
// whatever runs there, also for streams that wait for us: who holds the execution token makes none of them. It keeps
// memory for the next room, because freeing waits longest. Ownership: shared; rooms hold it. Threading: one user at a
// time (the holder of the token), but before() and after(), which run on a thread of the communicator. Dropping a room
// sends it back when its last user has gone; it is taken apart when its stream has ended its step, so who cannot be
// sure that this ends keeps it. After a failure: a room that is never open, says why.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/device/device.h"
#include "transport/nccl/caller.h"

namespace regroup {

class NcclRooms;

class NcclRoom {
 public:
  struct Buffer {
    std::byte* here = nullptr;   // pinned: the host's end
    std::byte* there = nullptr;  // on the device: NCCL's
    std::size_t bytes = 0;
  };
  [[nodiscard]] bool open() const { return state_.load(std::memory_order_acquire) == State::kOpen; }
  [[nodiscard]] bool failed() const { return state_.load(std::memory_order_acquire) == State::kFailed; }
  [[nodiscard]] const std::string& why() const { return why_; }  // once it has failed
  // Of an open room. False: not so large, or what runs in it has not ended; more is fetched meanwhile. May change both.
  bool reserve(std::size_t in_bytes, std::size_t out_bytes);
  [[nodiscard]] const Buffer& in() const { return in_; }
  [[nodiscard]] const Buffer& out() const { return out_; }
  [[nodiscard]] device::Stream& stream() { return *stream_; }
  [[nodiscard]] device::Device& device() const;

  // One collective: begin(); before() queues the input's way to the device, after() the result's way back and the word.
  void begin() { ++use_; }
  Status before(std::size_t bytes) { return stream_->copy(in_.there, in_.here, bytes); }
  Status after(std::size_t bytes);
  // The result stands in out().here.
  [[nodiscard]] bool done() const { return word_.value() >= use_; }

 private:
  friend class NcclRooms;
  enum class State : std::uint8_t { kOpening, kOpen, kFailed };
  struct Growth {
    Buffer in, out;
    std::atomic<bool> over{false};
  };
  std::shared_ptr<NcclRooms> rooms_;
  std::atomic<State> state_{State::kOpening};
  std::string why_;
  std::unique_ptr<device::Stream> stream_;
  device::Flag word_;
  std::uint32_t use_ = 0;  // what the word rises to
  Buffer in_, out_;
  std::shared_ptr<Growth> growth_;
};

class NcclRooms : public std::enable_shared_from_this<NcclRooms> {
 public:
  explicit NcclRooms(std::shared_ptr<device::Device> device) : device_(std::move(device)) {}
  ~NcclRooms() { free_kept(); }
  NcclRooms(const NcclRooms&) = delete;
  NcclRooms& operator=(const NcclRooms&) = delete;
  std::shared_ptr<NcclRoom> open();
  // Takes apart what was dropped and frees what is kept; false: that still goes on at the deadline.
  bool end(Instant deadline);
  [[nodiscard]] const std::shared_ptr<device::Device>& device() const { return device_; }

 private:
  friend class NcclRoom;
  void make(NcclRoom& room);
  void take_back(NcclRoom* room);
  Result<NcclRoom::Buffer> fetch(std::size_t bytes);
  void keep(const NcclRoom::Buffer& buffer);
  void free_kept();

  std::shared_ptr<device::Device> device_;
  std::vector<NcclRoom::Buffer> buffers_;  // with words: of the thread below only
  std::vector<device::Flag> words_;
  nccl::Caller caller_;
};

}  // namespace regroup

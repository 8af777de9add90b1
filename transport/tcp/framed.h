// Framed: frames in both directions over one non-blocking socket, without copying large payloads.
//
// Receiving: the user places every payload when its header is known (into its final place, discarded, or held: the
// connection stops reading until asked again). Sending: frames are pulled from the user one at a time, so nothing queues up
// but the current one; small ones are gathered into one call. Calls move at most 256 KiB each.
// Ownership: owns the socket. Threading: none. After a failure (read or write returned kClosed) `reason()` says why, the
// socket is to be dropped; nothing more is delivered. Never trusts a length: placements are checked by who places.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "transport/wire/frame.h"

namespace regroup::tcp {

enum class Take : std::uint8_t { kInto, kDiscard, kHold, kRefuse };

struct Placement {
  Take take = Take::kRefuse;
  std::byte* into = nullptr;  // kInto: room for Frame::length bytes, until arrived() or discard_current()
};

// A frame to send. The payload must stay as it is until it has been handed to the kernel or detach_payload() was called.
struct Outgoing {
  wire::Frame frame;  // length and payload_sum set
  const std::byte* payload = nullptr;
};

// Who uses a connection. Called inside read() and write() only.
class FrameUser {
 public:
  virtual ~FrameUser() = default;
  virtual Placement place(const wire::Frame& frame) = 0;
  // The whole payload lies where it was placed and its checksum is right. False: a breach of protocol, close.
  virtual bool arrived(const wire::Frame& frame) = 0;
  virtual bool next(Outgoing& out) = 0;
  // Everything pulled so far is with the kernel. True: return from write() now.
  virtual bool flushed() { return false; }
};

enum class Io : std::uint8_t {
  kMoved,    // bytes were moved; there may be more
  kIdle,     // nothing to do now (would block, nothing to send)
  kHeld,     // read: the user holds the frame at the head
  kClosed,   // end of stream, error or breach: see reason()
};

class Framed {
 public:
  explicit Framed(Fd fd);
  Framed(Framed&&) = default;
  Framed& operator=(Framed&&) = default;

  [[nodiscard]] int fd() const { return fd_.get(); }
  // Reads until the socket is empty or `budget` bytes were read. `scratch` takes what is discarded.
  Io read(FrameUser& user, std::size_t budget, std::span<std::byte> scratch);
  // Writes until the user has nothing to send, the socket is full (write_blocked) or `budget` bytes were written.
  Io write(FrameUser& user, std::size_t budget);

  [[nodiscard]] bool write_blocked() const { return blocked_; }
  void unblock() { blocked_ = false; }
  [[nodiscard]] bool sending() const { return head_ < out_.size() || payload_at_ < payload_end_; }
  [[nodiscard]] bool held() const { return rx_ == Rx::kHeld; }
  // The frame that is being received goes to the discard area, its place is free again.
  void discard_current();
  // Whatever was pulled but not sent yet is copied: the user's memory is free again.
  void detach_payload();
  [[nodiscard]] const std::string& reason() const { return reason_; }
  // kSilence: the kernel gave up or says that no way leads there.
  enum class Fault : std::uint8_t { kNone, kEnd, kError, kSilence, kMalformed, kChecksum, kBreach };
  [[nodiscard]] Fault fault() const { return fault_; }

  static constexpr std::size_t kCallBytes = 256u << 10;

 private:
  enum class Rx : std::uint8_t { kHeader, kHeld, kPayload };
  Io fail(Fault fault, std::string why);
  Io place(FrameUser& user);                       // header at hand: ask where its payload goes
  Io receive(std::size_t& budget, std::span<std::byte> scratch);
  Io finish(FrameUser& user);
  void pull(FrameUser& user);
  [[nodiscard]] std::size_t buffered() const { return in_end_ - in_begin_; }

  Fd fd_;
  // receive
  std::vector<std::byte> in_;  // bytes read ahead of the parser: in_[in_begin_, in_end_)
  std::size_t in_begin_ = 0, in_end_ = 0;
  Rx rx_ = Rx::kHeader;
  wire::Frame frame_;
  std::byte* into_ = nullptr;
  bool discard_ = false;
  bool drained_ = false;  // the last call took all that the socket had
  std::size_t got_ = 0;
  // send: out_[head_..] first, then the referenced payload
  std::vector<std::byte> out_;
  std::size_t head_ = 0;
  const std::byte* payload_at_ = nullptr;
  const std::byte* payload_end_ = nullptr;
  std::vector<std::byte> detached_;
  bool blocked_ = false;
  Fault fault_ = Fault::kNone;
  std::string reason_;
};

}  // namespace regroup::tcp

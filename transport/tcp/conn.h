// Conn: frames in both directions between two members, without copying large payloads; and Lanes, another way for them.
//
// Receiving: the user places every payload when its header is known (into its final place, discarded, or held: the
// connection stops reading until asked again). Sending: frames are pulled from the user one at a time, so nothing queues
// up but the current ones. A plain connection is one socket (Framed). Where a LinkSet has Lanes, an established socket is
// handed to them: it stays for whoever watches over the link, and the frames of an epoch take the lane beside it.
// Threading: none. After a failure (kClosed) `reason()` says why; nothing more is delivered, the connection is to be
// dropped. Upholds G7: after end() nothing of the epoch looks at memory of its users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/ids.h"
#include "base/result.h"
#include "transport/wire/frame.h"

namespace regroup::tcp {

enum class Take : std::uint8_t { kInto, kDiscard, kHold, kRefuse };

// `opaque`: memory that the host may not be able to read (a GPU's). Who places or sends such a payload makes and compares its
// payload_sum; only lanes carry it (Lanes::reach).
struct Placement {
  Take take = Take::kRefuse;
  std::byte* into = nullptr;  // kInto: room for Frame::length bytes, until arrived() or end()
  bool opaque = false;
};

// A frame to send. The payload must stay as it is until sending() is over or end() was called.
struct Outgoing {
  wire::Frame frame;  // length and payload_sum set
  const std::byte* payload = nullptr;
  bool opaque = false;
};

// What lanes can do with payloads in a GPU's memory.
enum class Reach : std::uint8_t {
  kNone,
  kCopied,  // they go through host memory there
  kDirect,  // a network device may fetch them
};

// Who uses a connection. Called inside read(), write() and serve() only.
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

class Conn {
 public:
  virtual ~Conn() = default;
  [[nodiscard]] virtual int fd() const = 0;
  // Reads until the socket is empty or `budget` bytes were read. `scratch` takes what is discarded.
  virtual Io read(FrameUser& user, std::size_t budget, std::span<std::byte> scratch) = 0;
  // Writes until the user has nothing to send, the socket is full (write_blocked) or `budget` bytes were written.
  virtual Io write(FrameUser& user, std::size_t budget) = 0;
  // Hands on what came by a lane.
  virtual Io serve(FrameUser&) { return Io::kIdle; }
  [[nodiscard]] virtual bool write_blocked() const = 0;
  virtual void unblock() = 0;
  [[nodiscard]] virtual bool sending() const = 0;
  // Bytes may still be here, though nobody's memory is looked at any more: write() again before you rest.
  [[nodiscard]] virtual bool unsettled() { return sending(); }
  [[nodiscard]] virtual bool held() const = 0;
  // An epoch begins, or ends: then no placement and no payload of its users is looked at any more.
  virtual void begin(Epoch epoch) = 0;
  virtual void end() = 0;
  [[nodiscard]] virtual const std::string& reason() const = 0;
  // kSilence: the kernel gave up or says that no way leads there.
  enum class Fault : std::uint8_t { kNone, kEnd, kError, kSilence, kMalformed, kChecksum, kBreach };
  [[nodiscard]] virtual Fault fault() const = 0;
};

class Lanes {
 public:
  virtual ~Lanes() = default;
  virtual std::unique_ptr<Conn> attach(std::unique_ptr<Conn> socket) = 0;  // an established one
  virtual void begin(Epoch epoch) = 0;  // before the connections'
  virtual void end() = 0;               // after the connections'
  virtual bool progress() = 0;          // moves bytes; true: something may have come
  // To sleep until something happens: poll fd() for input if arm() says so, else progress() first. -1: nothing to wait for.
  [[nodiscard]] virtual int fd() const = 0;
  [[nodiscard]] virtual bool arm() = 0;
  [[nodiscard]] virtual Reach reach() const = 0;
  // Bytes may still come to where they were placed in the epoch that ended last, by themselves: nothing is to be read or
  // written there before it is over. keep() holds memory so long.
  [[nodiscard]] virtual bool late() const = 0;
  virtual void keep(std::shared_ptr<void> memory) = 0;
  [[nodiscard]] virtual const char* name() const = 0;  // "ucx"
};

}  // namespace regroup::tcp

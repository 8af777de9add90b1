// LinkSet: the data listener of one member and one TCP connection per peer, kept from epoch to epoch (by incarnation).
//
// The lower member id connects (non-blocking, retried), the higher accepts. There is no thread: everything happens in
// pump(), called by the holder of the execution token; wake() alone may be called from any thread.
// Frames of the entered epoch go to its user, those of older epochs and other groups are read and dropped, a newer one
// holds its link until that epoch is entered (backpressure by TCP). A malformed, oversized or corrupt frame closes its
// link and is counted. A connection that carried frames of the epoch and broke is `lost`: the epoch cannot be repaired;
// the connection itself is made again for the next one. Upholds G7: after leave() nothing of the epoch reaches its user.
#pragma once

#include <poll.h>

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "transport/tcp/framed.h"
#include "transport/tcp/handshake.h"
#include "transport/tcp/socket.h"

namespace regroup::tcp {

struct LinkOptions {
  Identity self;
  std::string host;                             // where to listen; see data_address()
  std::uint16_t port = 0;                       // 0: any
  Duration suspicion = Duration::from_ms(1000); // a peer that cannot be reached for this long is `unreachable`
  std::shared_ptr<Lanes> lanes = {};            // another way for the frames of an epoch; none: the sockets
};

struct Peer {
  MemberId id;
  Incarnation inc;
  Endpoint at;
};

// What an epoch's user is asked. `peer` is an index of the peers of enter().
class LinkUser {
 public:
  virtual ~LinkUser() = default;
  virtual Placement place(std::size_t peer, const wire::Frame& frame) = 0;
  virtual bool arrived(std::size_t peer, const wire::Frame& frame) = 0;
  // Fills type, op, chunk, offset, length, payload_sum and the payload; group and epoch are set here.
  virtual bool next(std::size_t peer, Outgoing& out) = 0;
  // What was pulled for this peer is with the kernel. True: pump() returns now.
  virtual bool flushed(std::size_t peer) = 0;
};

struct LinkCounters {
  std::uint64_t connected = 0;    // handshakes that succeeded
  std::uint64_t refused = 0;      // handshakes that failed
  std::uint64_t malformed = 0;    // magic, version, header checksum, length
  std::uint64_t corrupt = 0;      // checksum of a payload
  std::uint64_t breaches = 0;     // well-formed, but not allowed where it came
  std::uint64_t truncated = 0;    // connections that ended or failed while up
  std::uint64_t foreign = 0;      // frames of another group, dropped
  std::uint64_t stale = 0;        // frames of an older epoch, dropped
  std::uint64_t held = 0;         // frames of a newer epoch that made a link wait
};

struct LinkState {
  bool up = false;
  bool lost = false;         // broke after it had carried frames of this epoch
  bool unreachable = false;  // we could not connect, or nothing was acknowledged, for the whole suspicion time
  std::string why;           // of the last failure
};

class LinkSet {
 public:
  // kSystem: the address cannot be listened at (names it and the cause).
  static Result<std::unique_ptr<LinkSet>> listen(LinkOptions options);
  ~LinkSet();
  LinkSet(const LinkSet&) = delete;
  LinkSet& operator=(const LinkSet&) = delete;

  [[nodiscard]] const Endpoint& endpoint() const { return endpoint_; }
  [[nodiscard]] const char* name() const { return options_.lanes ? options_.lanes->name() : "tcp"; }
  // Lanes that carry opaque payloads (conn.h), how far; nothing: there are none.
  [[nodiscard]] std::optional<Reach> reach() const;
  // As Lanes: after leave(). keep() without lanes: it goes at once.
  [[nodiscard]] bool late() const { return options_.lanes && options_.lanes->late(); }
  void keep(std::shared_ptr<void> memory);
  // Congestion control of the data links: "cubic", "bbr", ...
  [[nodiscard]] const std::string& congestion() const { return congestion_; }

  // Enters `epoch` with these peers; peers[self] is us. Links to members of the last epoch that are gone are closed.
  void enter(Epoch epoch, std::span<const Peer> peers, std::size_t self, LinkUser& user);
  // A new incarnation of this member begins: every link is closed, no epoch is entered.
  void set_identity(const Incarnation& inc);
  // Ends the epoch for `user` (nothing if another is entered): its memory is not looked at any more.
  void leave(const LinkUser& user);

  // Connects, accepts, sends and receives what can be done now; if that is nothing, waits up to `wait`. True: something
  // happened.
  bool pump(Duration wait);
  // Bytes wait for a full socket.
  [[nodiscard]] bool sending() const;
  // Not all that was sent has left this process: pump() again before you rest.
  [[nodiscard]] bool unsettled() const;
  [[nodiscard]] LinkState state(std::size_t peer) const;
  // First peer (lowest index) whose link was lost or that is unreachable; size of the view if none.
  [[nodiscard]] std::size_t first_broken() const { return broken_; }
  // Peers that are unreachable, and those that have not answered for most of the suspicion time: once one is given up, the
  // others of its host are not waited for one by one. Asked right after pump() found one.
  [[nodiscard]] std::vector<std::size_t> out_of_reach() const;
  [[nodiscard]] const LinkCounters& counters() const { return counters_; }
  // Ends a wait in pump(). Any thread.
  void wake();

 private:
  struct Link;
  class Adapter;
  explicit LinkSet(LinkOptions options);
  void accept_all();
  void connect(Link& link);
  void connect_failed(Link& link, const std::string& why);
  bool advance(Link& link);                // connecting and handshake; true: something moved
  void raise(Link& link);                  // the handshake is over
  void established(Link& link);
  bool serve_handshake(Link& link);
  void adopt(std::unique_ptr<Link> link);  // an accepted connection whose peer is known
  bool write(Link& link);
  bool read(Link& link);
  bool serve(Link& link);                  // what came by its lane
  void closed(Link& link);                 // the connection of an established link ended
  void drop_unused();
  void count_fault(const Conn& conn);
  bool wait(Duration wait);
  [[nodiscard]] bool quiet() const;
  void check_reach(Link& link, Instant at);
  void watch(Instant at);  // link_watch.cc
  [[nodiscard]] Outgoing probe() const;

  LinkOptions options_;
  std::uint64_t group_ = 0;
  Fd listener_, wake_;
  Endpoint endpoint_;
  std::string congestion_ = "unknown";
  std::map<Incarnation, std::unique_ptr<Link>> links_;
  std::vector<std::unique_ptr<Link>> incoming_;  // accepted, peer not known yet
  std::vector<Link*> peers_;                     // of the epoch, by index; nullptr at self
  Epoch epoch_ = 0;
  LinkUser* user_ = nullptr;
  std::size_t broken_ = 0;
  bool pause_ = false;  // the user asked pump() to return
  unsigned glances_ = 0;
  Instant watched_{};  // when the links were last looked at for silence
  LinkCounters counters_;
  std::vector<std::byte> scratch_;
  std::vector<pollfd> polls_;
  std::vector<Link*> polled_;
};

}  // namespace regroup::tcp

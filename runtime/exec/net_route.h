// NetRoute: carries out one algo::Route at one member: where received bytes go, what may be sent next, what is to be
// folded. No sockets: NetPlane moves the frames; tests move them by hand, in any order between links.
//
// Two ways to carry a hop. *Together* (all hops small, one at most from member to member): the bytes travel in the message
// of the descriptor, as soon as they stand. *Apart*: descriptors first, then frames of a chunk each, in order.
// Ownership: the memory is the caller's, of this epoch and op alone: partial results never leave it. Threading: none.
// Never trusts a frame: place() checks order and bounds. Upholds G2: every range is folded once, in the route's order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/algo/route.h"
#include "transport/tcp/framed.h"

namespace regroup {

class NetRoute {
 public:
  struct Memory {
    const std::byte* in = nullptr;
    std::byte* out = nullptr;
    std::byte* scratch = nullptr;
  };
  // The route must stay until the next begin().
  void begin(const algo::Route& route, const OpDesc& desc, std::size_t self, std::size_t members, Memory memory,
             bool together);
  // Descriptors are exchanged with this peer: I send to it or take of it (together: where something goes that way).
  [[nodiscard]] bool tells(std::size_t peer) const { return together_ ? sends_to(peer) : meets(peer); }
  [[nodiscard]] bool hears(std::size_t peer) const { return together_ ? takes_of(peer) : meets(peer); }
  [[nodiscard]] bool together() const { return together_; }

  // Together: what goes in the message for this peer, if it stands; what must come in its own.
  [[nodiscard]] std::optional<std::span<const std::byte>> parcel(std::size_t peer) const;
  void parcel_sent(std::size_t peer);
  [[nodiscard]] std::size_t parcel_bytes(std::size_t peer) const;
  void parcel_came(std::size_t peer, std::span<const std::byte> bytes);

  // Apart. The next chunk for this peer (offset, chunk, length, sum and payload of the frame); false: nothing stands.
  bool next(std::size_t peer, tcp::Outgoing& out);
  // Where the payload of this frame goes; nullptr: not what must come next.
  [[nodiscard]] std::byte* place(std::size_t peer, const wire::Frame& frame) const;
  void arrived(std::size_t peer, const wire::Frame& frame);

  // Folds or copies one chunk, if there is one; true: something was done.
  bool produce();
  [[nodiscard]] bool made() const { return left_ == 0; }      // every take
  [[nodiscard]] bool folded() const { return folds_ == 0; }   // every fold
  [[nodiscard]] bool unsent(std::size_t peer) const { return links_[peer].send != kNone; }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  struct Link {  // the first send and take of a peer that are not through
    std::uint32_t send = kNone, take = kNone;
    bool sends = false, takes = false;
  };
  struct SendState {
    std::size_t sent = 0;
    std::uint32_t next = kNone, hop = 0;  // the next one to the same member; its number among them
  };
  struct TakeState {
    std::size_t got = 0, made = 0;
    std::uint32_t next = kNone, hop = 0;
    std::size_t sums = 0;  // where its checksums begin; of what is passed on as it came
  };
  [[nodiscard]] bool sends_to(std::size_t peer) const { return links_[peer].sends; }
  [[nodiscard]] bool takes_of(std::size_t peer) const { return links_[peer].takes; }
  [[nodiscard]] bool meets(std::size_t peer) const { return links_[peer].sends || links_[peer].takes; }
  [[nodiscard]] std::byte* at(const algo::Place& place) const;
  [[nodiscard]] const std::byte* source(const algo::Place& place) const;
  [[nodiscard]] std::size_t stands(const algo::Send& send) const;  // bytes of it
  bool produce(std::size_t index);
  void advance(std::size_t index);
  void skip_empty(Link& link);

  const algo::Route* route_ = nullptr;
  OpDesc desc_;
  std::size_t self_ = 0, members_ = 0;
  Memory memory_;
  bool together_ = false;
  std::size_t left_ = 0, folds_ = 0;  // takes, and folds among them, that are not made
  std::size_t low_ = 0;               // every take below is made
  bool work_ = false;                 // something came since produce() found nothing
  std::vector<Link> links_;
  std::vector<SendState> sends_;
  std::vector<TakeState> takes_;
  std::vector<std::uint64_t> sums_;
};

}  // namespace regroup

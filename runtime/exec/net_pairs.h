// NetPairs: messages between two members over the links of one epoch. The receiver asks (want), the sender answers
// (head, then the bytes, from the caller's buffer), the receiver says prepared, the sender settled. Nothing large is
// sent before it is wanted, so nothing of a message stands in a link in front of who has not called recv. What an epoch
// did not bring to its end is asked for again in the next one; a message that stands whole stays. Ownership: part of
// NetPlane; received bytes stand in NetStaging. Threading: as the plane.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "runtime/exec/message.h"
#include "runtime/exec/net_staging.h"
#include "runtime/exec/plane.h"
#include "transport/tcp/link_set.h"

namespace regroup {

class NetPairs {
 public:
  enum Type : std::uint16_t { kWant = 32, kHead, kData, kPrepared, kSettled };
  NetPairs(NetStaging& staging, std::size_t staging_bytes, std::vector<Incarnation> peers)
      : staging_(staging),
        staging_bytes_(staging_bytes),
        incarnations_(std::move(peers)),
        peers_(incarnations_.size()) {}
  ~NetPairs();
  // At the end: gives back what messages were received in.
  void give(const std::function<void(NetStaging::Block&)>& back);
  // What was settled before is told again.
  void enter(const PairBook& book);
  // Looks at every message once. True: one is done.
  bool step(std::span<PairMessage* const> messages, ExecContext& context);
  // After a pump(): failpoints of what has left meanwhile.
  void sent(ExecContext& context);

  // Links.
  [[nodiscard]] static bool owns(const wire::Frame& frame) { return frame.type >= kWant; }
  tcp::Placement place(std::size_t peer, const wire::Frame& frame);
  bool arrived(std::size_t peer, const wire::Frame& frame);
  bool next(std::size_t peer, tcp::Outgoing& out);
  [[nodiscard]] bool unsent(std::size_t peer) const {
    return !peers_[peer].words.empty() || !peers_[peer].sending.empty();
  }

 private:
  static constexpr std::uint64_t kAhead = 16;   // messages that a receiver asks for at once
  static constexpr std::size_t kMaxWants = 64;  // that a sender keeps
  struct What {                                 // type and count of a message
    std::uint32_t type = 0;
    std::uint64_t count = 0;
    bool operator==(const What&) const = default;
  };
  // A word's small number holds the type, and above it how often a message was asked for anew.
  static constexpr std::uint32_t kTypeBits = 8;
  static constexpr std::uint32_t kNoType = 0xff;  // wanted of what there is no memory for: the answer brings no bytes
  struct Word {                                   // a frame without payload
    Type type;
    std::uint64_t number;
    std::uint32_t small = 0;  // type; verdict
    std::uint64_t large = 0;  // count
  };
  struct Sending {
    std::uint64_t number;
    const std::byte* from;
    std::size_t bytes, at = 0;
  };
  struct Want {
    What what;
    std::uint32_t asked = 0;
  };
  struct Receiving {
    std::uint64_t number;
    What what;
    std::size_t bytes;
    NetStaging::Block block;
    std::size_t got = 0;
    std::optional<What> head;
    std::uint32_t asked = 0;  // how often it was asked for anew: answers to what was asked before are not looked at
    std::vector<NetStaging::Block> before;  // memory that those may still be written into
    bool no_memory = false;
    bool taken = false;  // prepared: its message holds the block
  };
  struct PeerState {
    std::deque<Word> words;  // to send, before bytes
    std::map<std::uint64_t, Want> wants;
    std::map<std::uint64_t, Code> verdicts;  // of prepared ones that are not settled
    std::uint64_t prepared_seen = 0, settled_seen = 0;
    std::deque<Sending> sending;
    std::deque<Receiving> receiving;
  };
  void step_send(PeerState& p, PairMessage& m, ExecContext& context);
  void step_recv(PeerState& p, PairMessage& m, ExecContext& context);
  void ask(PeerState& p, PairMessage& m);
  [[nodiscard]] bool has_room(const PairMessage& m) const;
  void ask_anew(PeerState& p, PairMessage& m, Receiving& r);
  bool take(PeerState& p, PairMessage& m);
  [[nodiscard]] static Receiving* receiving(PeerState& p, std::uint64_t number);

  NetStaging& staging_;
  std::size_t staging_bytes_;
  std::size_t staged_ = 0;  // bytes asked for and not committed
  std::vector<Incarnation> incarnations_;
  std::vector<PeerState> peers_;
  bool first_chunk_ = false, all_sent_ = false;  // since sent() was last called
};

}  // namespace regroup

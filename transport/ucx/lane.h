// Lane: one peer in one epoch, by active messages of the epoch's worker.
//
// A message is a frame's header, a number and the key that the receiver gave the sender, then the payload. Messages are
// handed on in the order of their numbers, whatever order UCX delivers them in. A large payload is fetched by the
// receiver, straight to where it is placed, if the endpoint has a transport that can get; else it comes in fragments and
// is copied there. Opaque payloads that may lie in a GPU's memory are always fetched: UCX finds out whose memory it is. (Fragments
// could be left to UCX too, but 1.13 never frees them then, and 1.14 to 1.21 free those of large messages wrongly.)
// Ownership: owned by the lanes until their worker is destroyed, since requests point here.
// Threading: none, as its worker. After a failure reason() says why; nothing more is sent or handed on.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "transport/tcp/conn.h"
#include "transport/ucx/api.h"
#include "transport/ucx/head.h"

namespace regroup::ucx {

inline constexpr unsigned kMessage = 17;  // id of our active messages

class Lane {
 public:
  using Fault = tcp::Conn::Fault;
  // `key`: what the peer's messages carry. `marker`: a frame that its receiver drops. `patient`: no payload is
  // sent before a word of ours has gone after what UCX itself has to say. `devices`: opaque payloads
  // may lie in a GPU's memory, so that they are fetched.
  Lane(const Api& api, ucp_worker_h worker, std::uint64_t key, const wire::Frame& marker, bool patient, bool devices)
      : api_(api), worker_(worker), marker_(marker), patient_(patient), devices_(devices), mine_(key) {}
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // What the peer wants ours to carry.
  void meet(std::uint64_t key) { theirs_ = key; }
  [[nodiscard]] bool met() const { return theirs_ != 0; }
  [[nodiscard]] std::uint64_t key() const { return mine_; }
  // The peer may connect from now on.
  void invite() { invited_ = true; }
  // The endpoint, which the lanes own: of our making, or that the peer's first message came by.
  void use(ucp_ep_h ep);
  // The first message of who made it. UCX makes the other direction too before it lets it go (REPLY). A patient lane knocks, and greets
  // once the peer has knocked too: where the peer has no endpoint to us, or no room for a word, UCX itself has said nothing.
  void greet();
  // Goes at once or not at all: UCX has words of its own for what it keeps. False: there was no room, to be tried again.
  [[nodiscard]] bool knock();
  void hear_knock() { greet_at(&admitted_); }
  // Tells who made it that it is made: with our own key, since theirs may not have come yet.
  void answer() { post(ep_, {{}, 0, mine_}, {marker_, nullptr}, 0); }
  [[nodiscard]] bool answers(std::uint64_t key) const { return met() && key == theirs_; }
  // A message of the peer is here. A patient lane answers the first one by the endpoint that it came by, or by ours.
  void hear(ucp_ep_h by);
  // The epoch is over: a last word, if none has gone since UCX made the other direction.
  void part();
  // UCX may still have something of its own to say to the peer, which waits for room there. It sends in order: not where a
  // word of ours has gone after it.
  [[nodiscard]] bool owes() const { return patient_ && !clear_ && (posted_ || heard_); }
  // A connection with the peer may be half made: until its first message is here, or UCX has said that it is lost.
  [[nodiscard]] bool connecting() const { return (ep_ != nullptr || invited_) && !heard_ && !lost_; }
  void lose() { lost_ = true; }
  [[nodiscard]] ucp_ep_h ep() const { return ep_; }
  [[nodiscard]] bool up() const { return ep_ != nullptr && met() && (clear_ || !patient_) && fault_ == Fault::kNone; }
  void fail(ucs_status_t status) { fail(Fault::kError, "UCX endpoint: " + text(status)); }
  [[nodiscard]] bool full() const { return in_flight_ >= kMaxInFlight; }
  [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
  // What was sent may wait in UCX for room. Tells by sending a marker: UCX takes none while bytes before it wait.
  [[nodiscard]] bool unsettled();
  void send(const tcp::Outgoing& out, unsigned flags = 0) { post(ep_, {{}, sent_++, theirs_}, out, flags); }
  // Hands on what has come.
  tcp::Io serve(tcp::FrameUser& user);
  // A message of this peer. As of ucp_am_recv_callback_t.
  ucs_status_t take(const Head& head, void* data, std::size_t length, std::uint64_t attributes);
  // Drops what has not been handed on; nothing is sent any more. UCX may look at users' memory until its worker is gone.
  void abandon();
  // A fetch had begun and not ended when the lane was abandoned.
  [[nodiscard]] bool late() const { return first_ == First::kFetching; }
  [[nodiscard]] Fault fault() const { return fault_; }
  [[nodiscard]] const std::string& reason() const { return reason_; }

 private:
  static constexpr std::size_t kMaxInFlight = 8;
  static constexpr std::size_t kSmallBytes = 4u << 10;    // payloads up to this size are copied, as Framed does
  static constexpr std::size_t kEagerBytes = 64u << 10;   // smaller ones are not fetched: descriptors, which are taken in ordinary memory
  static constexpr std::size_t kMaxQueued = 64u << 20;    // of a peer that sends without being asked
  enum class Word : std::uint8_t { kMessage, kGreeting, kLast };
  struct Slot {  // of a message that is being sent
    Lane* lane = nullptr;
    Word word = Word::kMessage;
    std::array<std::byte, kHeadBytes> head;
    std::array<std::byte, kSmallBytes> small;
  };
  struct Inbound {
    std::uint64_t number = 0;
    wire::HeaderBytes header;
    void* data = nullptr;  // UCX's: bytes, or what is to be fetched
    bool fetch = false;
    std::size_t length = 0;
  };
  static void on_sent(void* request, ucs_status_t status, void* slot);
  static void on_fetched(void* request, ucs_status_t status, std::size_t length, void* lane);
  void post(ucp_ep_h by, Head head, const tcp::Outgoing& out, unsigned flags, Word word = Word::kMessage);
  void gone(Word word);
  void greet_at(bool* knock);
  tcp::Io fail(Fault fault, std::string why);
  void release(Inbound& in);
  [[nodiscard]] bool begin(tcp::FrameUser& user, Inbound& in, tcp::Io& answer);  // false: `answer`
  [[nodiscard]] std::string text(ucs_status_t status) const { return api_.ucs_status_string(status); }

  const Api& api_;
  ucp_worker_h worker_;
  wire::Frame marker_;
  ucp_ep_h ep_ = nullptr;
  bool gets_ = false;  // has a transport that can fetch
  const bool patient_, devices_;
  bool invited_ = false, heard_ = false, lost_ = false;
  bool knocked_ = false, greeted_ = false, clear_ = false;  // the knock, the greeting, the last word have gone
  bool admitted_ = false, posted_ = false;                  // the peer's knock is here; UCX has the greeting, which may wait there
  const std::uint64_t mine_;
  std::uint64_t theirs_ = 0, sent_ = 0, taken_ = 0;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::vector<Slot*> free_;
  std::size_t in_flight_ = 0;
  bool dirty_ = false;     // sent since the last marker
  std::deque<Inbound> inbound_;  // by number
  std::size_t queued_ = 0;
  wire::Frame frame_;            // of the first one, once it is placed
  std::byte* into_ = nullptr;
  bool opaque_ = false;
  enum class First : std::uint8_t { kNew, kFetching, kHere } first_ = First::kNew;
  Fault fault_ = Fault::kNone;
  std::string reason_;
};

}  // namespace regroup::ucx

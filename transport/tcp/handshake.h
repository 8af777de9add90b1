// Handshake: how two ends of a data connection learn who the other is. First authentication (transport/wire/auth.h:
// group, and the secret where there is one), then HELLO{member, incarnation, incarnation meant} and WELCOME.
//
// The connector says which incarnation it means, so that a successor on a reused port refuses; after WELCOME both may send.
// Threading: none; a user of one Framed until over(). After a failure `why()` is the reason; drop the connection.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "transport/tcp/framed.h"
#include "transport/wire/auth.h"

namespace regroup::tcp {

// Frame types below this belong to the handshake and to the links; those of users begin here.
inline constexpr std::uint16_t kFirstUserType = 16;
inline constexpr std::uint16_t kLane = 14;   // of those who carry frames another way (conn.h): how to reach them there
inline constexpr std::uint16_t kProbe = 15;  // says nothing: its acknowledgement does

struct Identity {
  std::string group;
  std::string secret;
  MemberId id;
  Incarnation inc;
};

class Handshake final : public FrameUser {
 public:
  // `target`: whom we connect to; nullopt: we have accepted and wait to hear.
  Handshake(const Identity& self, std::optional<Incarnation> target);

  Placement place(const wire::Frame& frame) override;
  bool arrived(const wire::Frame& frame) override;
  bool next(Outgoing& out) override;

  // Both sides know each other and everything of ours was pulled.
  [[nodiscard]] bool over() const { return welcome_ && outbox_.empty(); }
  // The accepting side: who the peer is.
  [[nodiscard]] const MemberId& peer_id() const { return peer_id_; }
  [[nodiscard]] const Incarnation& peer() const { return peer_; }
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  enum Type : std::uint16_t { kAuth = 1, kHello = 2, kWelcome = 3 };
  void send(Type type, std::vector<std::byte> payload);
  bool on_auth();
  bool on_hello();
  bool refuse(std::string why);

  Identity self_;
  std::uint64_t group_;
  std::optional<Incarnation> target_;
  std::variant<wire::AuthClient, wire::AuthServer> auth_;
  MemberId peer_id_;
  Incarnation peer_;
  bool welcome_ = false;
  std::vector<std::byte> inbox_;
  struct Message {
    Type type;
    std::vector<std::byte> payload;
  };
  std::deque<Message> outbox_;
  std::vector<std::byte> current_;  // payload of the frame that was pulled last
  std::string why_;
};

}  // namespace regroup::tcp

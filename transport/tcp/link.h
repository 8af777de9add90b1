// Link: what a LinkSet knows of one peer's connection. Internal to transport/tcp.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "transport/tcp/link_set.h"

namespace regroup::tcp {

struct LinkSet::Link {
  enum class Phase : std::uint8_t {
    kDown,        // no connection: we connect again at next_try, or wait for the peer to
    kConnecting,
    kHandshake,
    kUp,
  };
  MemberId id;
  Incarnation inc;
  Endpoint at;
  std::optional<std::size_t> index;  // in the entered epoch
  bool claimed = false;              // has been in a view of ours
  bool connector = false;            // we connect
  Phase phase = Phase::kDown;
  std::unique_ptr<Conn> conn;
  std::optional<Handshake> handshake;
  Instant since{};                        // made, or accepted
  Instant failing_since = Instant::never();  // first failed attempt since the link was up
  Instant next_try{};
  Duration backoff{};
  Instant answered{};    // of the last answer of the peer's kernel, or when it owed us none
  unsigned waits = 0;    // looks in a row that found one owed
  Instant probe_after{};
  bool probe = false;    // to be sent
  bool touched = false;  // carried frames of this epoch
  bool lost = false;
  bool unreachable = false;
  Epoch held_for = 0;
  std::string why;
};

// The FrameUser of an established link: sorts frames by group and epoch, hands those of the epoch on.
class LinkSet::Adapter final : public FrameUser {
 public:
  Adapter(LinkSet& set, Link& link) : set_(set), link_(link) {}
  Placement place(const wire::Frame& frame) override;
  bool arrived(const wire::Frame& frame) override { return set_.user_->arrived(*link_.index, frame); }
  bool next(Outgoing& out) override;
  bool flushed() override;

 private:
  LinkSet& set_;
  Link& link_;
};

}  // namespace regroup::tcp

#include "transport/tcp/handshake.h"

#include "base/bytes.h"

namespace regroup::tcp {
namespace {

std::variant<wire::AuthClient, wire::AuthServer> make_auth(const Identity& self, bool client) {
  if (client) return wire::AuthClient(self.group, self.secret, wire::random_nonce());
  return wire::AuthServer(self.group, self.secret, wire::random_nonce());
}

Incarnation read_incarnation(Reader& r) {
  Incarnation inc;
  inc.hi = r.u64();
  inc.lo = r.u64();
  return inc;
}

void write(Writer& w, const Incarnation& inc) {
  w.u64(inc.hi);
  w.u64(inc.lo);
}

}  // namespace

Handshake::Handshake(const Identity& self, std::optional<Incarnation> target)
    : self_(self), group_(wire::group_hash(self.group)), target_(target), auth_(make_auth(self, target.has_value())) {
  if (target) {
    peer_ = *target;
    send(kAuth, std::get<wire::AuthClient>(auth_).open());
  }
}

void Handshake::send(Type type, std::vector<std::byte> payload) { outbox_.push_back({type, std::move(payload)}); }

bool Handshake::refuse(std::string why) {
  if (why_.empty()) why_ = std::move(why);
  return false;
}

Placement Handshake::place(const wire::Frame& frame) {
  if (welcome_) return {Take::kHold, nullptr};  // the peer already talks to the next user
  if (frame.group != group_ || frame.length > wire::kMaxAuthBytes) {
    refuse("the first frames are not a handshake of this group");
    return {};
  }
  inbox_.resize(frame.length);
  return {Take::kInto, inbox_.data()};
}

bool Handshake::arrived(const wire::Frame& frame) {
  if (frame.type == kAuth) return on_auth();
  if (frame.type == kHello && !target_) return on_hello();
  if (frame.type == kWelcome && target_ && std::get<wire::AuthClient>(auth_).done()) return welcome_ = true;
  return refuse("an unexpected frame in the handshake");
}

bool Handshake::on_auth() {
  wire::AuthStep step = std::visit([this](auto& auth) { return auth.on(inbox_); }, auth_);
  if (!step.reply.empty()) send(kAuth, std::move(step.reply));
  if (!step.status.ok()) return refuse(step.status.error().detail);
  if (target_ && std::get<wire::AuthClient>(auth_).done()) {
    Writer w;
    w.u32(self_.id.replica);
    w.u32(self_.id.rank);
    write(w, self_.inc);
    write(w, *target_);
    send(kHello, w.take());
  }
  return true;
}

bool Handshake::on_hello() {
  if (!std::get<wire::AuthServer>(auth_).done()) return refuse("HELLO before authentication");
  Reader r(inbox_);
  peer_id_.replica = r.u32();
  peer_id_.rank = r.u32();
  peer_ = read_incarnation(r);
  const Incarnation meant = read_incarnation(r);
  if (!r.done() || peer_.is_null()) return refuse("malformed HELLO");
  if (meant != self_.inc) return refuse("the peer means another incarnation than this one");
  send(kWelcome, {});
  return welcome_ = true;
}

bool Handshake::next(Outgoing& out) {
  if (outbox_.empty()) return false;
  current_ = std::move(outbox_.front().payload);
  out.frame = {};
  out.frame.type = outbox_.front().type;
  out.frame.group = group_;
  wire::fill(out.frame, current_);
  out.payload = current_.data();
  outbox_.pop_front();
  return true;
}

}  // namespace regroup::tcp

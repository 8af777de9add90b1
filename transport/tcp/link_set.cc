#include "transport/tcp/link_set.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "transport/tcp/link.h"

namespace regroup::tcp {
namespace {

constexpr Duration kUnclaimedLife = Duration::from_s(30);  // a peer may be in a view that we have not installed yet
constexpr std::size_t kMaxUnclaimed = 64;
constexpr std::size_t kScratchBytes = 256u << 10;

}  // namespace

Result<std::unique_ptr<LinkSet>> LinkSet::listen(LinkOptions options) {
  auto listener = listen_at(options.host, options.port);
  if (!listener.ok()) return listener.error();
  auto endpoint = local_endpoint(listener->get());
  if (!endpoint.ok()) return endpoint.error();
  std::unique_ptr<LinkSet> set(new LinkSet(std::move(options)));
  set->listener_ = std::move(*listener);
  set->endpoint_ = *endpoint;
  set->wake_.reset(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!set->wake_) return {Code::kSystem, "eventfd: no descriptor left"};
  tune(set->listener_.get());  // accepted sockets inherit the congestion control
  set->congestion_ = congestion_of(set->listener_.get());
  set->group_ = wire::group_hash(set->options_.self.group);
  set->scratch_.resize(kScratchBytes);
  return set;
}

LinkSet::LinkSet(LinkOptions options) : options_(std::move(options)) {}
LinkSet::~LinkSet() = default;

void LinkSet::wake() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(wake_.get(), &one, sizeof one);  // full: it is awake anyway
}

std::optional<Reach> LinkSet::reach() const {
  if (!options_.lanes) return std::nullopt;
  return options_.lanes->reach();
}

void LinkSet::keep(std::shared_ptr<void> memory) {
  if (options_.lanes) options_.lanes->keep(std::move(memory));
}

void LinkSet::set_identity(const Incarnation& inc) {
  options_.self.inc = inc;
  if (user_ != nullptr) leave(*user_);
  links_.clear();
  incoming_.clear();
  peers_.clear();
  user_ = nullptr;
  epoch_ = 0;
  broken_ = 0;
}

void LinkSet::enter(Epoch epoch, std::span<const Peer> peers, std::size_t self, LinkUser& user) {
  RG_CHECK(user_ == nullptr && epoch > epoch_ && self < peers.size());
  epoch_ = epoch;
  user_ = &user;
  if (options_.lanes) options_.lanes->begin(epoch);
  for (auto& [inc, link] : links_) link->index.reset();
  peers_.assign(peers.size(), nullptr);
  for (std::size_t i = 0; i < peers.size(); ++i) {
    if (i == self) continue;
    RG_CHECK(peers[i].id != peers[self].id);
    auto& slot = links_[peers[i].inc];
    if (!slot) slot = std::make_unique<Link>();
    Link& link = *slot;
    link.id = peers[i].id;
    link.inc = peers[i].inc;
    link.at = peers[i].at;
    link.index = i;
    link.claimed = true;
    link.connector = peers[self].id < peers[i].id;
    link.failing_since = Instant::never();
    link.next_try = {};
    link.backoff = {};
    link.touched = link.lost = link.unreachable = false;
    peers_[i] = &link;
    if (link.phase != Link::Phase::kUp) continue;
    pollfd p{link.conn->fd(), POLLRDHUP, 0};  // ended between the epochs: nothing of this one is lost with it
    if (::poll(&p, 1, 0) > 0) closed(link);
    else link.conn->begin(epoch);
  }
  broken_ = peers_.size();
  drop_unused();
}

void LinkSet::drop_unused() {
  const Instant at = now();
  std::size_t unclaimed = 0;
  for (auto it = links_.begin(); it != links_.end();) {
    const Link& link = *it->second;
    const bool keep = link.index || (!link.claimed && at - link.since < kUnclaimedLife && ++unclaimed <= kMaxUnclaimed);
    it = keep ? std::next(it) : links_.erase(it);
  }
}

void LinkSet::leave(const LinkUser& user) {
  if (user_ != &user) return;
  user_ = nullptr;
  for (auto& [inc, link] : links_) {
    if (!link->conn) continue;
    link->conn->end();
  }
  if (options_.lanes) options_.lanes->end();
}

LinkState LinkSet::state(std::size_t peer) const {
  RG_CHECK(peer < peers_.size());
  const Link* link = peers_[peer];
  if (link == nullptr) return {true, false, false, {}};
  return {link->phase == Link::Phase::kUp, link->lost, link->unreachable, link->why};
}

bool LinkSet::sending() const {
  return std::any_of(peers_.begin(), peers_.end(), [](const Link* l) { return l && l->conn && l->conn->sending(); });
}

bool LinkSet::unsettled() const {
  return std::any_of(peers_.begin(), peers_.end(), [](const Link* l) { return l && l->conn && l->conn->unsettled(); });
}

void LinkSet::adopt(std::unique_ptr<Link> link) {
  link->id = link->handshake->peer_id();
  link->inc = link->handshake->peer();
  auto& slot = links_[link->inc];
  if (!slot) {
    raise(*link);
    slot = std::move(link);
    drop_unused();
    return;
  }
  if (slot->connector || slot->id != link->id) {  // it is ours to connect, or somebody lies about its name
    ++counters_.refused;
    return;
  }
  if (slot->phase == Link::Phase::kUp) closed(*slot);  // the peer saw the end of the old connection before us
  slot->conn = std::move(link->conn);
  established(*slot);
}

void LinkSet::raise(Link& link) {
  ++counters_.connected;
  link.handshake.reset();
  link.phase = Link::Phase::kUp;
  if (options_.lanes) link.conn = options_.lanes->attach(std::move(link.conn));
  if (link.index && user_ != nullptr) link.conn->begin(epoch_);
}

void LinkSet::established(Link& link) {
  raise(link);
  link.failing_since = Instant::never();
  link.backoff = {};
  link.held_for = 0;
  link.unreachable = false;
  const auto bad = [](const Link* l) { return l != nullptr && (l->lost || l->unreachable); };
  broken_ = static_cast<std::size_t>(std::find_if(peers_.begin(), peers_.end(), bad) - peers_.begin());
}

void LinkSet::count_fault(const Conn& conn) {
  switch (conn.fault()) {
    case Conn::Fault::kMalformed: ++counters_.malformed; break;
    case Conn::Fault::kChecksum: ++counters_.corrupt; break;
    case Conn::Fault::kBreach: ++counters_.breaches; break;
    case Conn::Fault::kEnd:
    case Conn::Fault::kError:
    case Conn::Fault::kSilence: ++counters_.truncated; break;
    case Conn::Fault::kNone: break;
  }
}

void LinkSet::closed(Link& link) {
  bool silence = false;
  if (link.conn) {
    silence = link.conn->fault() == Conn::Fault::kSilence;
    count_fault(*link.conn);
    if (!link.conn->reason().empty()) link.why = link.conn->reason();
  }
  link.conn.reset();
  link.handshake.reset();
  link.phase = Link::Phase::kDown;
  link.next_try = {};
  if (!link.touched || !link.index || user_ == nullptr) return;
  link.lost = true;
  link.unreachable = link.unreachable || silence;  // no way leads there
  broken_ = std::min(broken_, *link.index);
}

}  // namespace regroup::tcp

#include "transport/tcp/link_set.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

namespace regroup::tcp {
namespace {

constexpr std::size_t kBudgetBytes = 1u << 20;    // of a link per turn, so that all links move
constexpr std::size_t kScratchBytes = 256u << 10;
constexpr std::size_t kMaxIncoming = 256;
constexpr Duration kRetry = Duration::from_ms(20);
constexpr Duration kSilence = Duration::from_s(30);  // TCP_USER_TIMEOUT also counts a full window of a slow, living peer

}  // namespace

// One connection and what it is for. As a FrameUser it stands between the connection and the epoch's user.
struct LinkSet::Link final : FrameUser {
  enum class Stage : std::uint8_t { kDown, kConnecting, kHandshake, kUp };
  explicit Link(LinkSet& owner) : set(owner) {}

  Placement place(const wire::Frame& frame) override {
    if (frame.group != set.group_) return ++set.counters_.foreign, Placement{Take::kDiscard, nullptr};
    if (frame.epoch < set.epoch_ || (frame.epoch == set.epoch_ && set.user_ == nullptr))
      return ++set.counters_.stale, Placement{Take::kDiscard, nullptr};
    if (frame.epoch > set.epoch_ || !index) return ++set.counters_.held, Placement{Take::kHold, nullptr};
    return set.user_->place(*index, frame);
  }
  bool arrived(const wire::Frame& frame) override {
    if (frame.epoch != set.epoch_ || set.user_ == nullptr || !index) return true;  // its epoch ended while it arrived
    return set.user_->arrived(*index, frame);
  }
  bool next(Outgoing& out) override {
    if (set.user_ == nullptr || !index || !set.user_->next(*index, out)) return false;
    out.frame.group = set.group_;
    out.frame.epoch = set.epoch_;
    return true;
  }
  bool flushed() override {
    if (set.user_ == nullptr || !index || !set.user_->flushed(*index)) return false;
    return set.pause_ = true;
  }

  LinkSet& set;
  Stage stage = Stage::kDown;
  Peer peer;
  std::optional<std::size_t> index;  // in the epoch's view
  bool initiator = false;
  std::unique_ptr<Framed> conn;
  std::unique_ptr<Handshake> handshake;
  Instant retry_at{0}, failing_since = Instant::never();
  LinkState state;
};

Result<std::unique_ptr<LinkSet>> LinkSet::listen(LinkOptions options) {
  std::unique_ptr<LinkSet> set(new LinkSet(std::move(options)));
  Result<Fd> listener = listen_at(set->options_.host, set->options_.port);
  if (!listener) return listener.error();
  set->listener_ = std::move(*listener);
  Result<Endpoint> endpoint = local_endpoint(set->listener_.get());
  if (!endpoint) return endpoint.error();
  set->endpoint_ = *endpoint;
  set->wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!set->wake_) return {Code::kSystem, std::string("eventfd: ") + std::strerror(errno)};
  set->group_ = wire::group_hash(set->options_.self.group);
  set->scratch_.resize(kScratchBytes);
  return set;
}

LinkSet::LinkSet(LinkOptions options) : options_(std::move(options)) {}
LinkSet::~LinkSet() = default;

void LinkSet::set_identity(const Incarnation& inc) {
  options_.self.inc = inc;
  links_.clear();
  incoming_.clear();
  peers_.clear();
  user_ = nullptr;
  epoch_ = 0;
}

void LinkSet::enter(Epoch epoch, std::span<const Peer> peers, std::size_t self, LinkUser& user) {
  epoch_ = epoch;
  user_ = &user;
  broken_ = peers.size();
  for (auto& [inc, link] : links_) link->index.reset();
  peers_.assign(peers.size(), nullptr);
  for (std::size_t i = 0; i < peers.size(); ++i) {
    if (i == self) continue;
    std::unique_ptr<Link>& link = links_[peers[i].inc];
    if (!link) {
      link = std::make_unique<Link>(*this);
      link->peer = peers[i];
      link->initiator = options_.self.id < peers[i].id;
    }
    link->index = i;
    link->failing_since = Instant::never();
    link->state = LinkState{link->stage == Link::Stage::kUp, false, false, ""};
    peers_[i] = link.get();
  }
  std::erase_if(links_, [](const auto& l) { return !l.second->index; });
  for (std::size_t i = incoming_.size(); i-- > 0;)  // who had connected before we knew it as a member
    if (incoming_[i]->stage == Link::Stage::kUp && links_.contains(incoming_[i]->peer.inc)) {
      std::unique_ptr<Link> link = std::move(incoming_[i]);
      incoming_.erase(incoming_.begin() + static_cast<std::ptrdiff_t>(i));
      adopt(std::move(link));
    }
}

void LinkSet::leave(const LinkUser& user) {
  if (user_ != &user) return;
  user_ = nullptr;
  for (auto& [inc, link] : links_) {
    if (!link->conn) continue;
    link->conn->discard_current();
    link->conn->detach_payload();
  }
}

void LinkSet::accept_all() {
  while (incoming_.size() < kMaxIncoming) {
    Fd fd = accept_next(listener_.get());
    if (!fd) return;
    tune(fd.get(), kSilence);
    auto link = std::make_unique<Link>(*this);
    link->conn = std::make_unique<Framed>(std::move(fd));
    link->handshake = std::make_unique<Handshake>(options_.self, std::nullopt);
    link->stage = Link::Stage::kHandshake;
    incoming_.push_back(std::move(link));
  }
  incoming_.erase(incoming_.begin());  // the oldest stranger makes room
}

void LinkSet::connect(Link& link) {
  Result<Fd> fd = start_connect(link.peer.at);
  if (!fd) return connect_failed(link, fd.error().detail);
  link.conn = std::make_unique<Framed>(std::move(*fd));
  link.stage = Link::Stage::kConnecting;
}

void LinkSet::connect_failed(Link& link, const std::string& why) {
  const Instant at = now();
  link.conn.reset();
  link.handshake.reset();
  link.stage = Link::Stage::kDown;
  link.retry_at = at + kRetry;
  link.state.why = why;
  if (link.failing_since.is_never()) link.failing_since = at;
  if (at - link.failing_since < options_.suspicion || !link.index) return;
  link.state.unreachable = true;
  broken_ = std::min(broken_, *link.index);
}

void LinkSet::established(Link& link) {
  link.stage = Link::Stage::kUp;
  link.peer.inc = link.handshake->peer();
  link.handshake.reset();
  link.state.up = true;
  link.failing_since = Instant::never();
  ++counters_.connected;
  congestion_ = congestion_of(link.conn->fd());
}

// Moves an accepted connection, whose peer is known now, to that peer's link.
void LinkSet::adopt(std::unique_ptr<Link> link) {
  Link& known = *links_.at(link->peer.inc);
  if (known.stage == Link::Stage::kUp && known.index) closed(known);  // the peer has connected again: it lost the old one
  known.conn = std::move(link->conn);
  known.stage = Link::Stage::kUp;
  known.state.up = true;
}

void LinkSet::count_fault(const Framed& conn) {
  switch (conn.fault()) {
    case Framed::Fault::kMalformed: ++counters_.malformed; break;
    case Framed::Fault::kChecksum: ++counters_.corrupt; break;
    case Framed::Fault::kBreach: ++counters_.breaches; break;
    default: ++counters_.truncated; break;
  }
}

// The connection of an established link ended: what it carried in this epoch may be lost.
void LinkSet::closed(Link& link) {
  count_fault(*link.conn);
  link.state.up = false;
  link.state.lost = true;
  link.state.why = link.conn->reason();
  if (link.index) broken_ = std::min(broken_, *link.index);
  link.conn.reset();
  link.stage = Link::Stage::kDown;
  link.retry_at = now();
}

bool LinkSet::serve_handshake(Link& link) {
  const Io wrote = link.conn->write(*link.handshake, kBudgetBytes);
  const Io read = wrote == Io::kClosed ? wrote : link.conn->read(*link.handshake, kBudgetBytes, scratch_);
  if (wrote != Io::kClosed && read != Io::kClosed) {
    const Io again = link.conn->write(*link.handshake, kBudgetBytes);  // the answers
    if (link.handshake->over()) established(link);
    return wrote == Io::kMoved || read == Io::kMoved || again == Io::kMoved;
  }
  ++counters_.refused;
  connect_failed(link, link.handshake->why().empty() ? link.conn->reason() : link.handshake->why());
  return true;
}

// One turn of a link before it is up.
bool LinkSet::advance(Link& link) {
  switch (link.stage) {
    case Link::Stage::kDown:
      if (!link.initiator || now() < link.retry_at) return false;
      connect(link);
      return link.stage != Link::Stage::kDown;
    case Link::Stage::kConnecting: {
      pollfd p{link.conn->fd(), POLLOUT, 0};
      if (::poll(&p, 1, 0) == 0) return false;
      if (const int error = connect_error(link.conn->fd()); error != 0) {
        connect_failed(link, std::string("connect: ") + std::strerror(error));
        return false;
      }
      tune(link.conn->fd(), kSilence);
      link.handshake = std::make_unique<Handshake>(options_.self, link.peer.inc);
      link.stage = Link::Stage::kHandshake;
      return true;
    }
    case Link::Stage::kHandshake: return serve_handshake(link);
    case Link::Stage::kUp: return false;
  }
  return false;
}

bool LinkSet::serve(Link& link) {
  bool moved = advance(link);
  if (link.stage != Link::Stage::kUp) return moved;
  const Io wrote = link.conn->write(link, kBudgetBytes);
  if (wrote == Io::kClosed) return closed(link), true;
  if (pause_) return true;
  const Io read = link.conn->read(link, kBudgetBytes, scratch_);
  if (read == Io::kClosed) return closed(link), true;
  return moved || wrote == Io::kMoved || read == Io::kMoved;
}

bool LinkSet::pump(Duration wait_for) {
  bool moved = false;
  pause_ = false;
  accept_all();
  for (std::size_t i = incoming_.size(); i-- > 0;) {
    Link& link = *incoming_[i];
    if (link.stage != Link::Stage::kHandshake) continue;
    moved = serve_handshake(link) || moved;
    if (link.stage == Link::Stage::kHandshake) continue;
    std::unique_ptr<Link> done = std::move(incoming_[i]);
    incoming_.erase(incoming_.begin() + static_cast<std::ptrdiff_t>(i));
    if (done->stage != Link::Stage::kUp) continue;  // refused
    if (links_.contains(done->peer.inc)) adopt(std::move(done));
    else incoming_.push_back(std::move(done));  // a member of a view that we have not installed yet
  }
  for (auto& [inc, link] : links_) {
    moved = serve(*link) || moved;
    if (pause_) return true;
  }
  return moved || (wait_for.ns > 0 && wait(wait_for));
}

bool LinkSet::wait(Duration bound) {
  polls_.assign({{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}});
  const auto add = [&](Link& link, bool hold) {
    if (!link.conn) return;
    short events = hold || link.conn->held() ? 0 : POLLIN;
    if (link.stage == Link::Stage::kConnecting || link.conn->write_blocked()) events |= POLLOUT;
    link.conn->unblock();
    if (events != 0) polls_.push_back({link.conn->fd(), events, 0});
  };
  for (auto& [inc, link] : links_) add(*link, false);
  for (auto& link : incoming_) add(*link, link->stage == Link::Stage::kUp);
  timespec limit{bound.ns / 1'000'000'000, bound.ns % 1'000'000'000};
  const int ready = ::ppoll(polls_.data(), polls_.size(), &limit, nullptr);
  if (ready > 0 && polls_[0].revents != 0) {
    std::uint64_t count;
    (void)!::read(wake_.get(), &count, sizeof count);
  }
  return ready > 0;
}

bool LinkSet::sending() const {
  return std::any_of(links_.begin(), links_.end(), [](const auto& l) { return l.second->conn && l.second->conn->sending(); });
}

LinkState LinkSet::state(std::size_t peer) const { return peers_.at(peer) ? peers_[peer]->state : LinkState{true, false, false, ""}; }

void LinkSet::wake() {
  const std::uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

}  // namespace regroup::tcp

// The moving half of LinkSet: pump() and what it calls.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "transport/tcp/link.h"

namespace regroup::tcp {
namespace {

constexpr std::size_t kPumpBytes = 2u << 20;  // per link, direction and pump(): the user looks up at least that often
constexpr unsigned kGlances = 16;  // the listener is polled at least every so many turns
constexpr Duration kHandshakeLife = Duration::from_s(5);
constexpr std::size_t kMaxIncoming = 64;
constexpr Duration kMinBackoff = Duration::from_ms(1);
constexpr Duration kMaxBackoff = Duration::from_ms(100);

}  // namespace

Placement LinkSet::Adapter::place(const wire::Frame& frame) {
  if (frame.group != set_.group_) {
    ++set_.counters_.foreign;
    return {Take::kDiscard, nullptr};
  }
  if (frame.type == kProbe) return {Take::kDiscard, nullptr};
  if (frame.type < kFirstUserType) return {};
  if (frame.epoch < set_.epoch_ || (frame.epoch == set_.epoch_ && set_.user_ == nullptr)) {
    ++set_.counters_.stale;
    return {Take::kDiscard, nullptr};
  }
  if (frame.epoch > set_.epoch_) {
    if (link_.held_for != frame.epoch) ++set_.counters_.held;
    link_.held_for = frame.epoch;
    return {Take::kHold, nullptr};
  }
  link_.touched = true;
  return set_.user_->place(*link_.index, frame);
}

bool LinkSet::Adapter::next(Outgoing& out) {
  if (set_.user_ == nullptr || !link_.index) return false;
  if (std::exchange(link_.probe, false)) return out = set_.probe(), true;
  if (!set_.user_->next(*link_.index, out)) return false;
  out.frame.group = set_.group_;
  out.frame.epoch = set_.epoch_;
  link_.touched = true;
  return true;
}

bool LinkSet::Adapter::flushed() {
  if (set_.user_ != nullptr && set_.user_->flushed(*link_.index)) set_.pause_ = true;
  return set_.pause_;
}

bool LinkSet::pump(Duration wait_for) {
  pause_ = false;
  if (wait_for.ns > 0) watch(now());
  bool moved = options_.lanes && options_.lanes->progress();
  for (Link* link : peers_) {
    if (link == nullptr) continue;
    if (options_.lanes && link->phase == Link::Phase::kUp) moved |= serve(*link);
    if (link->phase != Link::Phase::kUp) moved |= advance(*link);
    else if (!link->conn->write_blocked()) moved |= write(*link);
    if (pause_) return true;
    // A frame that waited, for its epoch or by its user's wish, is offered again; the socket itself is not watched.
    if (link->phase == Link::Phase::kUp && link->conn->held() && link->held_for <= epoch_) moved |= read(*link);
  }
  if (wait_for.ns == 0 && ++glances_ % kGlances != 0 && quiet()) {
    if (options_.lanes) return moved;
    for (Link* link : peers_) {
      if (link != nullptr && link->phase == Link::Phase::kUp) moved |= read(*link);
      if (pause_) return true;
    }
    return moved;
  }
  return wait(moved ? Duration{} : wait_for) || moved;
}

// Every link is up and neither held nor full: asking each for bytes is cheaper than polling them and then asking.
bool LinkSet::quiet() const {
  return std::all_of(peers_.begin(), peers_.end(), [](const Link* l) {
    return l == nullptr || (l->phase == Link::Phase::kUp && !l->conn->held() && !l->conn->write_blocked());
  });
}

// Polls everything once and serves what is ready.
bool LinkSet::wait(Duration wait_for) {
  polls_.clear();
  polled_.clear();
  polls_.push_back({listener_.get(), POLLIN, 0});
  polls_.push_back({wake_.get(), POLLIN, 0});
  const auto watch = [this](Link& link, int events) {
    polls_.push_back({link.conn->fd(), static_cast<short>(events), 0});
    polled_.push_back(&link);
  };
  for (auto& link : incoming_) watch(*link, POLLIN | (link->conn->write_blocked() ? POLLOUT : 0));
  for (Link* link : peers_) {
    if (link == nullptr) continue;
    if (link->phase == Link::Phase::kDown) {
      if (link->connector && wait_for.ns > 0) wait_for = std::max(Duration{}, std::min(wait_for, link->next_try - now()));
      continue;
    }
    const bool blocked = link->phase == Link::Phase::kConnecting || link->conn->write_blocked();
    const bool deaf = link->phase == Link::Phase::kConnecting || link->conn->held();
    if (blocked || !deaf) watch(*link, (blocked ? POLLOUT : 0) | (deaf ? 0 : POLLIN));
  }
  const std::size_t links = polls_.size();
  if (options_.lanes && wait_for.ns > 0) {
    if (options_.lanes->arm()) polls_.push_back({options_.lanes->fd(), POLLIN, 0});
    else wait_for = {};
  }
  const timespec ts{wait_for.ns / 1'000'000'000, wait_for.ns % 1'000'000'000};
  if (::ppoll(polls_.data(), polls_.size(), &ts, nullptr) <= 0) return false;

  bool moved = false;
  for (std::size_t i = links; i < polls_.size(); ++i) moved |= polls_[i].revents != 0;  // the lanes: progress comes next
  for (std::size_t i = 0; i < polled_.size(); ++i) {
    const short got = polls_[i + 2].revents;
    Link& link = *polled_[i];
    if (got == 0 || !link.conn || link.conn->fd() != polls_[i + 2].fd) continue;
    if ((got & (POLLOUT | POLLERR | POLLHUP)) != 0) link.conn->unblock();
    if (link.phase != Link::Phase::kUp) moved |= advance(link);
    else {
      if ((got & POLLOUT) != 0) moved |= write(link);
      if (link.conn && (got & (POLLIN | POLLERR | POLLHUP)) != 0) moved |= read(link);
    }
    if (pause_) return true;
  }
  if (polls_[1].revents != 0) {
    std::uint64_t count = 0;
    [[maybe_unused]] const ssize_t n = ::read(wake_.get(), &count, sizeof count);
    moved = true;
  }
  if (polls_[0].revents != 0) accept_all(), moved = true;
  for (std::size_t i = 0; i < incoming_.size();) {  // finished or failed handshakes leave the list
    Link& link = *incoming_[i];
    const bool known = link.conn && link.handshake->over() && !link.conn->sending();
    if (link.conn && !known && now() - link.since < kHandshakeLife) { ++i; continue; }
    std::unique_ptr<Link> taken = std::move(incoming_[i]);
    incoming_.erase(incoming_.begin() + static_cast<std::ptrdiff_t>(i));
    if (known) adopt(std::move(taken));
    else ++counters_.refused;
  }
  return moved;
}

void LinkSet::accept_all() {
  while (Fd fd = accept_next(listener_.get())) {
    tune(fd.get());
    auto link = std::make_unique<Link>();
    link->conn = std::make_unique<Framed>(std::move(fd));
    link->handshake.emplace(options_.self, std::nullopt);
    link->phase = Link::Phase::kHandshake;
    link->since = now();
    if (incoming_.size() >= kMaxIncoming) {
      ++counters_.refused;
      incoming_.erase(incoming_.begin());
    }
    incoming_.push_back(std::move(link));
    serve_handshake(*incoming_.back());
  }
}

// One step of a link that is not up.
bool LinkSet::advance(Link& link) {
  const Instant at = now();
  switch (link.phase) {
    case Link::Phase::kDown:
      if (!link.connector) return false;
      check_reach(link, at);
      if (at < link.next_try) return false;
      connect(link);
      return true;
    case Link::Phase::kConnecting: {
      check_reach(link, at);
      pollfd p{link.conn->fd(), POLLOUT, 0};
      if (::poll(&p, 1, 0) == 0) return false;
      if (const int error = connect_error(link.conn->fd()); error != 0) {
        connect_failed(link, "connect to " + link.at.host + " port " + std::to_string(link.at.port) + ": " + std::strerror(error));
        return true;
      }
      link.phase = Link::Phase::kHandshake;
      link.handshake.emplace(options_.self, link.inc);
      return serve_handshake(link);
    }
    case Link::Phase::kHandshake:
      if (link.connector) check_reach(link, at);
      return serve_handshake(link);
    case Link::Phase::kUp: return false;
  }
  return false;
}

void LinkSet::connect(Link& link) {
  if (link.failing_since.is_never()) link.failing_since = now();
  auto fd = start_connect(link.at);
  if (!fd.ok()) return connect_failed(link, fd.error().detail);
  tune(fd->get());
  link.conn = std::make_unique<Framed>(std::move(*fd));
  link.phase = Link::Phase::kConnecting;
}

void LinkSet::connect_failed(Link& link, const std::string& why) {
  link.conn.reset();
  link.handshake.reset();
  link.phase = Link::Phase::kDown;
  link.why = why;
  link.backoff = std::clamp(link.backoff * 2, kMinBackoff, kMaxBackoff);
  link.next_try = now() + link.backoff;
  check_reach(link, now());
}

void LinkSet::check_reach(Link& link, Instant at) {
  if (link.unreachable || link.failing_since.is_never() || at - link.failing_since <= options_.suspicion) return;
  link.unreachable = true;
  broken_ = std::min(broken_, *link.index);
}

bool LinkSet::serve_handshake(Link& link) {
  Conn& conn = *link.conn;
  Handshake& handshake = *link.handshake;
  bool moved = conn.write(handshake, kPumpBytes) == Io::kMoved;
  const Io io = conn.read(handshake, kPumpBytes, scratch_);
  moved |= io == Io::kMoved;
  conn.write(handshake, kPumpBytes);  // the answer, also the one that says why not
  if (io == Io::kClosed) {
    count_fault(conn);
    const std::string why = handshake.why().empty() ? conn.reason() : handshake.why();
    if (link.connector) ++counters_.refused, connect_failed(link, why);
    else link.conn.reset();
    return true;
  }
  if (!handshake.over() || conn.sending()) return moved;
  if (link.connector) established(link);
  return true;
}

bool LinkSet::write(Link& link) {
  Adapter adapter(*this, link);
  const Io io = link.conn->write(adapter, kPumpBytes);
  if (io == Io::kClosed) closed(link);
  return io != Io::kIdle;
}

bool LinkSet::serve(Link& link) {
  Adapter adapter(*this, link);
  const Io io = link.conn->serve(adapter);
  if (io == Io::kClosed) closed(link);
  return io == Io::kMoved || io == Io::kClosed;
}

bool LinkSet::read(Link& link) {
  Adapter adapter(*this, link);
  const Io io = link.conn->read(adapter, kPumpBytes, scratch_);
  if (io == Io::kClosed) closed(link);
  return io == Io::kMoved || io == Io::kClosed;
}

}  // namespace regroup::tcp

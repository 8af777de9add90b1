#include "transport/ucx/conn.h"

#include "base/bytes.h"
#include "transport/tcp/handshake.h"

namespace regroup::ucx {
namespace {

constexpr std::size_t kKeyBytes = 8;
constexpr std::size_t kMaxAddress = 64u << 10;
constexpr Duration kConnecting = Duration::from_s(5);  // from when both ends know each other's place to the first frame
constexpr Duration kGrace = Duration::from_ms(250);  // from what UCX says of a peer to the end of the link

}  // namespace

void Conn::begin(Epoch epoch) {
  epoch_ = epoch;
  lane_ = lanes_.lane();
  closed_ = lane_ == nullptr;
  if (closed_) return;
  Writer w;
  w.u64(lane_->key());
  ours_ = w.take();
  ours_.insert(ours_.end(), lanes_.address().begin(), lanes_.address().end());
  told_ = false;
  connect();
}

void Conn::end() {
  if (lane_ != nullptr) lane_->abandon();
  lane_ = nullptr;
  told_ = true;  // who was not invited need not come
  epoch_ = 0;
  flush_due_ = false;
  failed_ = Instant::never();
  socket_->end();
}

void Conn::connect() {
  if (lane_ == nullptr || lane_->met() || theirs_.epoch != epoch_ || theirs_.bytes.empty()) return;
  const std::span<const std::byte> bytes = theirs_.bytes;
  Reader r(bytes.first(kKeyBytes));
  lanes_.connect(*lane_, bytes.subspan(kKeyBytes), r.u64());
  met_ = now();
  theirs_.bytes.clear();
}

// --- the socket's frames ---

tcp::Placement Conn::place(const wire::Frame& frame) {
  if (frame.group != lanes_.group()) return {tcp::Take::kRefuse, nullptr};
  if (frame.type == tcp::kProbe) return {tcp::Take::kDiscard, nullptr};
  if (frame.type != tcp::kLane || frame.length <= kKeyBytes || frame.length > kMaxAddress) return {};
  inbox_.bytes.resize(frame.length);
  return {tcp::Take::kInto, inbox_.bytes.data()};
}

bool Conn::arrived(const wire::Frame& frame) {
  if (frame.epoch <= theirs_.epoch) return false;  // a peer tells it once an epoch
  theirs_ = {frame.epoch, std::move(inbox_.bytes)};
  connect();
  return true;
}

bool Conn::next(tcp::Outgoing& out) {
  out = {};
  if (!told_) {
    told_ = true;
    lane_->invite();
    out.frame.type = tcp::kLane;
    wire::fill(out.frame, ours_);
    out.payload = ours_.data();
  } else if (probe_) {
    out = *probe_;
    probe_.reset();
  } else {
    return false;
  }
  out.frame.group = lanes_.group();
  out.frame.epoch = epoch_;
  return true;
}

// --- of the link ---

bool Conn::given_up() {
  if (!closed_ && lane_ != nullptr && lane_->met() && !lane_->up() && now() - met_ > kConnecting) lane_->fail(UCS_ERR_TIMED_OUT);
  if (closed_ || lane_ == nullptr || lane_->fault() == Fault::kNone) return closed_;
  if (failed_.is_never()) failed_ = now();
  return closed_ = lane_->fault() != Fault::kError || now() - failed_ > kGrace;
}

tcp::Io Conn::read(tcp::FrameUser&, std::size_t budget, std::span<std::byte> scratch) {
  return socket_->read(*this, budget, scratch);
}

tcp::Io Conn::serve(tcp::FrameUser& user) {
  if (lane_ == nullptr || !lane_->up()) return given_up() ? tcp::Io::kClosed : tcp::Io::kIdle;
  const tcp::Io io = lane_->serve(user);
  return io == tcp::Io::kClosed && !given_up() ? tcp::Io::kIdle : io;
}

// What the user has for the peer. True: something was moved.
bool Conn::pull(tcp::FrameUser& user, std::size_t budget) {
  bool moved = false;
  while (lane_->up()) {
    if (flush_due_ && lane_->in_flight() == 0) {
      flush_due_ = false;
      if (user.flushed()) return true;
    }
    tcp::Outgoing out;
    if (lane_->full() || budget == 0 || !user.next(out)) break;
    if (out.frame.type == tcp::kProbe) {
      probe_ = out;
      continue;
    }
    lane_->send(out);
    budget -= std::min<std::size_t>(budget, out.frame.length + wire::kHeaderBytes);
    moved = flush_due_ = true;
  }
  return moved;
}

tcp::Io Conn::write(tcp::FrameUser& user, std::size_t budget) {
  if (given_up()) return tcp::Io::kClosed;
  const bool moved = lane_ != nullptr && pull(user, budget);
  const tcp::Io io = socket_->write(*this, budget);
  return moved && io == tcp::Io::kIdle ? tcp::Io::kMoved : io;
}

const std::string& Conn::reason() const {
  if (!closed_) return socket_->reason();
  return lane_ != nullptr ? lane_->reason() : lanes_.trouble();
}

Conn::Fault Conn::fault() const {
  if (!closed_) return socket_->fault();
  return lane_ != nullptr ? lane_->fault() : Fault::kError;
}

}  // namespace regroup::ucx

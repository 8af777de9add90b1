#include "transport/tcp/framed.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace regroup::tcp {
namespace {

Framed::Fault fault_of(int error) {
  const bool silence = error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH;
  return silence ? Framed::Fault::kSilence : Framed::Fault::kError;
}

constexpr std::size_t kInBytes = 16u << 10;
constexpr std::size_t kGatherPayload = 4u << 10;  // payloads up to this size are copied behind their header
constexpr std::size_t kOutBytes = 32u << 10;

}  // namespace

Framed::Framed(Fd fd) : fd_(std::move(fd)), in_(kInBytes) { out_.reserve(kOutBytes); }

Io Framed::fail(Fault fault, std::string why) {
  fault_ = fault;
  reason_ = std::move(why);
  return Io::kClosed;
}

Io Framed::place(FrameUser& user) {
  if (rx_ == Rx::kHeader) {
    auto frame = wire::decode(std::span<const std::byte, wire::kHeaderBytes>(in_.data() + in_begin_, wire::kHeaderBytes));
    if (!frame.ok()) return fail(Fault::kMalformed, frame.error().detail);
    frame_ = *frame;
    in_begin_ += wire::kHeaderBytes;
    rx_ = Rx::kHeld;
  }
  const Placement placement = user.place(frame_);
  if (placement.take == Take::kHold) return Io::kHeld;
  if (placement.take == Take::kRefuse) return fail(Fault::kBreach, "a frame that the protocol does not allow here");
  discard_ = placement.take == Take::kDiscard;
  into_ = placement.into;
  got_ = 0;
  rx_ = Rx::kPayload;
  return Io::kMoved;
}

Io Framed::finish(FrameUser& user) {
  rx_ = Rx::kHeader;
  if (discard_) return Io::kMoved;
  if (wire::checksum({into_, frame_.length}) != frame_.payload_sum)
    return fail(Fault::kChecksum, "the checksum of a payload differs");
  if (!user.arrived(frame_)) return fail(Fault::kBreach, "a frame that the protocol does not allow here");
  return Io::kMoved;
}

// One recvmsg: the rest of the payload straight to its place, and what follows it into the buffer.
Io Framed::receive(std::size_t& budget, std::span<std::byte> scratch) {
  if (in_begin_ == in_end_) in_begin_ = in_end_ = 0;
  if (in_begin_ > 0 && rx_ == Rx::kHeader) {
    std::memmove(in_.data(), in_.data() + in_begin_, buffered());
    in_end_ -= in_begin_;
    in_begin_ = 0;
  }
  iovec iov[2];
  std::size_t count = 0, direct = 0, left = 0;
  if (rx_ == Rx::kPayload) {
    left = frame_.length - got_;
    direct = std::min(left, kCallBytes);
    if (discard_) direct = std::min(direct, scratch.size());
    iov[count++] = {discard_ ? scratch.data() : into_ + got_, direct};
  }
  const std::size_t end = in_end_;
  if (direct == left) iov[count++] = {in_.data() + end, in_.size() - end};
  msghdr message{};
  message.msg_iov = iov;
  message.msg_iovlen = count;
  const ssize_t n = ::recvmsg(fd_.get(), &message, MSG_DONTWAIT);
  if (n == 0) return fail(Fault::kEnd, "the peer closed the connection");
  if (n < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return Io::kIdle;
    return fail(fault_of(errno), std::string("receive: ") + std::strerror(errno));
  }
  const auto bytes = static_cast<std::size_t>(n);
  const std::size_t taken = std::min(bytes, direct);
  got_ += taken;
  in_end_ += bytes - taken;
  drained_ = bytes < direct + (direct == left ? in_.size() - end : 0);
  budget -= std::min(budget, bytes);
  return Io::kMoved;
}

Io Framed::read(FrameUser& user, std::size_t budget, std::span<std::byte> scratch) {
  bool moved = false;
  drained_ = false;
  for (;;) {
    if (rx_ == Rx::kHeld || (rx_ == Rx::kHeader && buffered() >= wire::kHeaderBytes)) {
      const Io io = place(user);
      if (io == Io::kHeld) return moved ? Io::kMoved : Io::kHeld;
      if (io == Io::kClosed) return io;
    }
    if (rx_ == Rx::kPayload) {
      const std::size_t n = std::min(buffered(), frame_.length - got_);
      if (!discard_ && n > 0) std::memcpy(into_ + got_, in_.data() + in_begin_, n);
      got_ += n, in_begin_ += n;
      if (got_ == frame_.length) {
        moved = true;
        if (finish(user) == Io::kClosed) return Io::kClosed;
        continue;
      }
    }
    if (budget == 0 || drained_) return Io::kMoved;
    const Io io = receive(budget, scratch);
    if (io == Io::kIdle) return moved ? Io::kMoved : io;
    if (io == Io::kClosed) return io;
    moved = true;
  }
}

void Framed::pull(FrameUser& user) {
  Outgoing next;
  while (payload_at_ == payload_end_ && out_.size() + wire::kHeaderBytes + kGatherPayload <= kOutBytes && user.next(next)) {
    const std::size_t at = out_.size();
    const bool gather = next.frame.length <= kGatherPayload;
    out_.resize(at + wire::kHeaderBytes + (gather ? next.frame.length : 0));
    wire::HeaderBytes header;
    wire::encode(next.frame, header);
    std::memcpy(out_.data() + at, header.data(), header.size());
    if (gather && next.frame.length > 0)
      std::memcpy(out_.data() + at + wire::kHeaderBytes, next.payload, next.frame.length);
    else if (!gather)
      payload_at_ = next.payload, payload_end_ = next.payload + next.frame.length;
  }
}

Io Framed::write(FrameUser& user, std::size_t budget) {
  bool moved = false;
  for (;;) {
    if (!sending()) out_.clear(), head_ = 0;
    if (payload_at_ == payload_end_) pull(user);
    if (!sending()) return moved ? Io::kMoved : Io::kIdle;
    if (budget == 0) return Io::kMoved;
    const std::size_t buffered = out_.size() - head_;
    const std::size_t direct = std::min(static_cast<std::size_t>(payload_end_ - payload_at_), kCallBytes);
    iovec iov[2] = {{out_.data() + head_, buffered}, {const_cast<std::byte*>(payload_at_), direct}};
    msghdr message{};
    message.msg_iov = buffered > 0 ? iov : iov + 1;
    message.msg_iovlen = static_cast<std::size_t>(buffered > 0) + static_cast<std::size_t>(direct > 0);
    const ssize_t n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return fail(fault_of(errno), std::string("send: ") + std::strerror(errno));
      blocked_ = true;
      return moved ? Io::kMoved : Io::kIdle;
    }
    moved = true;
    const auto bytes = static_cast<std::size_t>(n);
    const std::size_t first = std::min(bytes, buffered);
    head_ += first;
    payload_at_ += bytes - first;
    budget -= std::min(budget, bytes);
    if (!sending() && user.flushed()) return Io::kMoved;
  }
}

void Framed::discard_current() {
  if (rx_ == Rx::kPayload) discard_ = true;
}

void Framed::detach_payload() {
  if (payload_at_ == payload_end_) return;
  if (!detached_.empty() && payload_at_ >= detached_.data() && payload_at_ < detached_.data() + detached_.size()) return;
  detached_.assign(payload_at_, payload_end_);
  payload_at_ = detached_.data();
  payload_end_ = detached_.data() + detached_.size();
}

}  // namespace regroup::tcp

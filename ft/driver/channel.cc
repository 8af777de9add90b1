#include "ft/driver/channel.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "ft/driver/net.h"
#include "transport/wire/frame.h"

namespace regroup {

Status Channel::send(ControlFrame type, std::span<const std::byte> payload) {
  if (out_.size() - sent_ + payload.size() > kMaxQueuedBytes)
    return {Code::kUnavailable, "the peer does not read what it is sent"};
  wire::Frame frame;
  frame.type = static_cast<std::uint16_t>(type);
  frame.group = group_;
  wire::fill(frame, payload);
  wire::HeaderBytes header;
  wire::encode(frame, header);
  out_.insert(out_.end(), header.begin(), header.end());
  out_.insert(out_.end(), payload.begin(), payload.end());
  return flush();
}

Status Channel::flush() {
  while (sent_ < out_.size()) {
    const ssize_t n = ::send(fd_.get(), out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (n > 0)
      sent_ += static_cast<std::size_t>(n);
    else if (errno == EAGAIN || errno == EWOULDBLOCK)
      break;
    else if (errno == EPIPE || errno == ECONNRESET)
      return {Code::kClosed, "the peer closed the connection"};
    else if (errno != EINTR)
      return net::system_error("cannot send", errno);
  }
  if (sent_ == out_.size() || sent_ > (64u << 10)) {
    out_.erase(out_.begin(), out_.begin() + static_cast<std::ptrdiff_t>(sent_));
    sent_ = 0;
  }
  return {};
}

Status Channel::receive(const OnFrame& on_frame) {
  std::array<std::byte, 16384> chunk;
  for (int i = 0; i < 64; ++i) {  // at most 1 MiB per call: one peer cannot keep the loop to itself
    const ssize_t n = ::recv(fd_.get(), chunk.data(), chunk.size(), 0);
    if (n > 0) {
      in_.insert(in_.end(), chunk.begin(), chunk.begin() + n);
      if (Status status = parse(on_frame); !status) return status;
      if (static_cast<std::size_t>(n) < chunk.size()) return {};
    } else if (n == 0 || errno == ECONNRESET) {
      return {Code::kClosed, "the peer closed the connection"};
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return {};
    } else if (errno != EINTR) {
      return net::system_error("cannot receive", errno);
    }
  }
  return {};
}

Status Channel::parse(const OnFrame& on_frame) {
  std::size_t at = 0;
  Status status;
  while (status.ok() && in_.size() - at >= wire::kHeaderBytes) {
    auto frame = wire::decode(std::span<const std::byte, wire::kHeaderBytes>(in_.data() + at, wire::kHeaderBytes));
    if (!frame) return frame.error();
    if (frame->length > max_frame_)
      return {Code::kRefused, "frame of " + std::to_string(frame->length) + " bytes is over the bound here"};
    if (in_.size() - at < wire::kHeaderBytes + frame->length) break;
    const std::span<const std::byte> payload(in_.data() + at + wire::kHeaderBytes, frame->length);
    if (wire::checksum(payload) != frame->payload_sum) return {Code::kRefused, "frame payload checksum differs"};
    at += wire::kHeaderBytes + frame->length;
    const auto type = static_cast<ControlFrame>(frame->type);
    if (group_ != 0 && frame->group != 0 && frame->group != group_ && type != ControlFrame::kAuth)
      ++dropped_;
    else
      status = on_frame(type, payload);
  }
  in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(std::min(at, in_.size())));
  return status;
}

}  // namespace regroup

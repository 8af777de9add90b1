// Framed: a connection (conn.h) that is one non-blocking socket. Small frames are gathered into one call; calls move at
// most 1 MiB each.
// Ownership: owns the socket. Threading: none. After a failure (read or write returned kClosed) `reason()` says why, the
// socket is to be dropped; nothing more is delivered. Never trusts a length: placements are checked by who places.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "transport/tcp/conn.h"

namespace regroup::tcp {

class Framed final : public Conn {
 public:
  explicit Framed(Fd fd);

  [[nodiscard]] int fd() const override { return fd_.get(); }
  Io read(FrameUser& user, std::size_t budget, std::span<std::byte> scratch) override;
  Io write(FrameUser& user, std::size_t budget) override;
  [[nodiscard]] bool write_blocked() const override { return blocked_; }
  void unblock() override { blocked_ = false; }
  [[nodiscard]] bool sending() const override { return head_ < out_.size() || payload_at_ < payload_end_; }
  [[nodiscard]] bool held() const override { return rx_ == Rx::kHeld; }
  void begin(Epoch) override {}
  void end() override { detach_payload(), discard_current(); }
  // The frame that is being received goes to the discard area, its place is free again.
  void discard_current();
  // Whatever was pulled but not sent yet is copied: the user's memory is free again.
  void detach_payload();
  [[nodiscard]] const std::string& reason() const override { return reason_; }
  [[nodiscard]] Fault fault() const override { return fault_; }

  static constexpr std::size_t kCallBytes = 1u << 20;

 private:
  enum class Rx : std::uint8_t { kHeader, kHeld, kPayload };
  Io fail(Fault fault, std::string why);
  Io place(FrameUser& user);                       // header at hand: ask where its payload goes
  Io receive(std::size_t& budget, std::span<std::byte> scratch);
  Io finish(FrameUser& user);
  void pull(FrameUser& user);
  [[nodiscard]] std::size_t buffered() const { return in_end_ - in_begin_; }

  Fd fd_;
  // receive
  std::vector<std::byte> in_;  // bytes read ahead of the parser: in_[in_begin_, in_end_)
  std::size_t in_begin_ = 0, in_end_ = 0;
  Rx rx_ = Rx::kHeader;
  wire::Frame frame_;
  std::byte* into_ = nullptr;
  bool discard_ = false;
  bool drained_ = false;  // the last call took all that the socket had
  std::size_t got_ = 0;
  // send: out_[head_..] first, then the referenced payload
  std::vector<std::byte> out_;
  std::size_t head_ = 0;
  const std::byte* payload_at_ = nullptr;
  const std::byte* payload_end_ = nullptr;
  std::vector<std::byte> detached_;
  bool blocked_ = false;
  Fault fault_ = Fault::kNone;
  std::string reason_;
};

}  // namespace regroup::tcp

// Conn: a link's socket, and in an epoch its lane beside it. The ends tell each other over the socket where their workers
// of the epoch are; once both know, frames take the lane. The socket goes on to carry probes, and its end is the link's.
//
// Threading: none. After a failure as tcp::Conn. What UCX says of a peer is believed a little later than what the socket
// says: a peer that has ended its epoch before us destroys its worker, which is no failure of the link.
#pragma once

#include <optional>

#include "base/clock.h"
#include "transport/ucx/lanes.h"

namespace regroup::ucx {

class Conn final : public tcp::Conn, private tcp::FrameUser {
 public:
  Conn(UcxLanes& lanes, std::unique_ptr<tcp::Conn> socket) : lanes_(lanes), socket_(std::move(socket)) {}
  ~Conn() override { end(); }

  [[nodiscard]] int fd() const override { return socket_->fd(); }
  tcp::Io read(tcp::FrameUser& user, std::size_t budget, std::span<std::byte> scratch) override;
  tcp::Io write(tcp::FrameUser& user, std::size_t budget) override;
  tcp::Io serve(tcp::FrameUser& user) override;
  [[nodiscard]] bool write_blocked() const override { return socket_->write_blocked(); }
  void unblock() override { socket_->unblock(); }
  [[nodiscard]] bool sending() const override { return socket_->sending() || (lane_ != nullptr && lane_->in_flight() != 0); }
  [[nodiscard]] bool unsettled() override { return sending() || (lane_ != nullptr && lane_->unsettled()); }
  [[nodiscard]] bool held() const override { return socket_->held(); }
  void begin(Epoch epoch) override;
  void end() override;
  [[nodiscard]] const std::string& reason() const override;
  [[nodiscard]] Fault fault() const override;

 private:
  // Of the socket.
  tcp::Placement place(const wire::Frame& frame) override;
  bool arrived(const wire::Frame& frame) override;
  bool next(tcp::Outgoing& out) override;
  void connect();
  bool pull(tcp::FrameUser& user, std::size_t budget);
  [[nodiscard]] bool given_up();  // the lane failed, and the link with it

  UcxLanes& lanes_;
  std::unique_ptr<tcp::Conn> socket_;
  Epoch epoch_ = 0;
  Lane* lane_ = nullptr;  // of the epoch
  std::vector<std::byte> ours_;  // to be told: key and address
  bool told_ = true;
  struct Theirs {
    Epoch epoch = 0;
    std::vector<std::byte> bytes;
  } inbox_, theirs_;
  std::optional<tcp::Outgoing> probe_;
  bool flush_due_ = false;
  Instant met_, failed_ = Instant::never();
  bool closed_ = false;  // by the lane
};

}  // namespace regroup::ucx

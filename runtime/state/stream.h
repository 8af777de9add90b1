// Stream: frames over one TCP connection for who owns a thread: blocking calls with one deadline. Opens with authentication
// (transport/wire/auth.h). Errors: kTimeout, kUnavailable (the connection ended), kRefused (not of our protocol or group).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "transport/wire/frame.h"

namespace regroup::state {

class Stream {
 public:
  // stop: non-zero ends every wait. group and secret as for all connections.
  Stream(Fd fd, std::string group, std::string secret, Instant deadline, const std::atomic<bool>* stop);
  void set_deadline(Instant deadline) { deadline_ = deadline; }
  [[nodiscard]] Status open_as_client();
  [[nodiscard]] Status open_as_server();

  [[nodiscard]] Status send(wire::Frame frame, std::span<const std::byte> payload);
  // Header, then the payload into `into` (its size must be Frame::length).
  [[nodiscard]] Result<wire::Frame> receive_header();
  [[nodiscard]] Status receive_payload(const wire::Frame& frame, std::span<std::byte> into);
  // A whole small frame of this type, of at most so many bytes: nothing is allocated for more.
  [[nodiscard]] Result<std::vector<std::byte>> expect(std::uint16_t type, wire::Frame& frame,
                                                      std::size_t max_bytes = wire::kMaxPayloadBytes);

 private:
  [[nodiscard]] Status wait(short events);
  [[nodiscard]] Status write_all(std::span<const std::byte> bytes);
  [[nodiscard]] Status read_all(std::span<std::byte> bytes);
  Fd fd_;
  std::string group_, secret_;
  Instant deadline_;
  const std::atomic<bool>* stop_;
};

// kUnavailable: nobody there within 2 s, or the deadline.
[[nodiscard]] Result<Fd> connect_to(const std::string& host, std::uint16_t port, Instant deadline);

// Frame types of a state transfer.
enum Type : std::uint16_t { kAuth = 1, kRequest = 2, kHead = 3, kChunk = 4, kDigest = 5, kFailed = 6,
  // Catch-up (wire.h). kFailed carries a Code in Frame::chunk there.
  kOpen = 7, kVersion = 8, kTake = 9, kTaken = 10, kGet = 11, kStripe = 12, kGone = 13, kDigests = 14,
  kFollow = 15, kResult = 16, kAlive = 17 };

}  // namespace regroup::state

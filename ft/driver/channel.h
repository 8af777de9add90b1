// Channel: frames of transport/wire over one non-blocking socket, in both directions. One thread; owns the socket.
//
// Bounded: an incoming frame by set_max_frame (small until the peer is known), outgoing bytes by kMaxQueuedBytes. After
// an error the channel is of no more use: close it. kClosed: the peer closed; kRefused: malformed (count it);
// kUnavailable: the peer does not read; kSystem: the socket failed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace regroup {

// Frame types of control connections. Values are part of the format.
enum class ControlFrame : std::uint16_t {
  kAuth = 1,           // transport/wire/auth.h
  kToCoordinator = 2,  // codec.h
  kToMember = 3,       // codec.h
  kAlive = 4,          // coordinator's answer to a heartbeat; empty
  kStatus = 5,         // request: empty; answer: JSON
  kDeath = 6,          // a launcher's report: codec of Suspect; answered with an empty frame of the same type
  kMemberStatus = 7,   // DataSide::status_json
};

class Channel {
 public:
  static constexpr std::size_t kMaxQueuedBytes = 16u << 20;

  // `group`: hash of its name; frames of another one are dropped, those of no group (0) are let through.
  Channel(Fd fd, std::uint64_t group) : fd_(std::move(fd)), group_(group) {}

  // Queues and writes what the socket takes.
  [[nodiscard]] Status send(ControlFrame type, std::span<const std::byte> payload);
  [[nodiscard]] Status flush();
  [[nodiscard]] bool wants_write() const { return sent_ < out_.size(); }

  // Reads what is there (bounded per call) and hands over every whole frame. Stops at the first error of either.
  using OnFrame = std::function<Status(ControlFrame type, std::span<const std::byte> payload)>;
  [[nodiscard]] Status receive(const OnFrame& on_frame);

  void set_group(std::uint64_t group) { group_ = group; }
  void set_max_frame(std::size_t bytes) { max_frame_ = bytes; }
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] std::uint64_t dropped_frames() const { return dropped_; }

 private:
  [[nodiscard]] Status parse(const OnFrame& on_frame);
  Fd fd_;
  std::uint64_t group_;
  std::size_t max_frame_ = 1024;
  std::vector<std::byte> in_, out_;
  std::size_t sent_ = 0;  // of out_
  std::uint64_t dropped_ = 0;
};

}  // namespace regroup

// Auth: who may talk on a connection, as two small pure state machines. Used by control, data and state connections.
//
// The client opens with its group and a nonce. Without a secret on either side the server accepts at once. With one on
// both, challenge and response: the client proves that it knows the secret with HMAC-SHA256 over both nonces and the
// group, then the server proves itself the same way (other label, so that an answer cannot be reflected). One secret
// only, a wrong one, or another group: kRefused with a text that says which.
// Pure: bytes in, bytes out; nonces are given. Threading: none. After a failure the object stays failed.
// It guards the opening of a connection, not its bytes: no encryption, no protection against who sits on the path.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace regroup::wire {

using Nonce = std::array<std::byte, 16>;
using Mac = std::array<std::byte, 32>;
[[nodiscard]] Nonce random_nonce();
// Sub-groups of "job" (Group::split) are named "job/..."; the coordinator of a group serves them too.
[[nodiscard]] bool is_subgroup(std::string_view name, std::string_view of);

inline constexpr std::size_t kMaxAuthBytes = 1024;  // of any auth message; bound reads by it until done()
inline constexpr std::size_t kMaxGroupBytes = 255;
inline constexpr std::size_t kMaxSecretBytes = 4096;

// What to do after a message. `reply` is sent even when `status` is an error: it tells the peer why.
struct AuthStep {
  std::vector<std::byte> reply;
  Status status;
};

class AuthClient {
 public:
  AuthClient(std::string group, std::string secret, Nonce nonce);
  // The first message of the connection.
  [[nodiscard]] std::vector<std::byte> open() const;
  AuthStep on(std::span<const std::byte> message);
  [[nodiscard]] bool done() const { return state_ == State::kDone; }

 private:
  enum class State : std::uint8_t { kOpened, kAnswered, kDone, kFailed };
  AuthStep fail(std::string why);
  std::string group_, secret_;
  Nonce mine_, theirs_{};
  State state_ = State::kOpened;
};

class AuthServer {
 public:
  // An opening that names no group (status), or a sub-group (see is_subgroup), is accepted when `any_group`.
  AuthServer(std::string group, std::string secret, Nonce nonce, bool any_group = false);
  AuthStep on(std::span<const std::byte> message);
  [[nodiscard]] bool done() const { return state_ == State::kDone; }
  // What the opening named; empty: no group, or no opening yet.
  [[nodiscard]] const std::string& peer_group() const { return peer_group_; }

 private:
  enum class State : std::uint8_t { kFresh, kChallenged, kDone, kFailed };
  AuthStep on_open(std::span<const std::byte> message);
  AuthStep fail(std::string why);
  std::string group_, secret_;
  Nonce mine_, theirs_{};
  std::string peer_group_;
  bool any_group_;
  State state_ = State::kFresh;
};

// The message that says no, for a peer whose bytes could not even be read (wrong version).
[[nodiscard]] std::vector<std::byte> auth_reject(const std::string& why);

}  // namespace regroup::wire

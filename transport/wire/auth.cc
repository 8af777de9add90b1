#include "transport/wire/auth.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <cstring>
#include <string_view>

#include "base/bytes.h"
#include "base/check.h"
#include "base/rng.h"

namespace regroup::wire {
namespace {

enum Tag : std::uint8_t { kOpen = 1, kAccept = 2, kChallenge = 3, kAnswer = 4, kProof = 5, kReject = 6 };
constexpr std::string_view kClientLabel = "regroup client v1";
constexpr std::string_view kServerLabel = "regroup server v1";
constexpr std::size_t kMaxReason = 512;

template <std::size_t N>
std::string_view view_of(const std::array<std::byte, N>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), N};
}

template <std::size_t N>
bool read(Reader& r, std::array<std::byte, N>& out) {
  const std::string text = r.text(N);
  if (!r.ok() || text.size() != N) return false;
  std::memcpy(out.data(), text.data(), N);
  return true;
}

Mac mac_of(std::string_view label, const std::string& secret, const Nonce& server, const Nonce& client,
           const std::string& group) {
  Writer w;  // every part with its length: no two inputs give the same bytes
  w.text(label);
  w.text(view_of(server));
  w.text(view_of(client));
  w.text(group);
  const auto bytes = w.bytes();
  Mac mac{};
  unsigned size = 0;
  const auto* p = ::HMAC(::EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                         reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
                         reinterpret_cast<unsigned char*>(mac.data()), &size);
  RG_CHECK_MSG(p != nullptr && size == mac.size(), "HMAC-SHA256 failed");
  return mac;
}

bool same(const Mac& a, const Mac& b) { return ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0; }

std::vector<std::byte> with_text(Tag tag, std::string_view text) {
  Writer w;
  w.u8(tag);
  w.text(text);
  return w.take();
}

}  // namespace

Nonce random_nonce() {
  Nonce nonce;
  const std::uint64_t words[2] = {random_u64(), random_u64()};
  static_assert(sizeof words == sizeof nonce);
  std::memcpy(nonce.data(), words, sizeof words);
  return nonce;
}

bool is_subgroup(std::string_view name, std::string_view of) {
  return name.size() > of.size() + 1 && name.starts_with(of) && name[of.size()] == '/';
}

std::vector<std::byte> auth_reject(const std::string& why) { return with_text(kReject, why.substr(0, kMaxReason)); }

AuthClient::AuthClient(std::string group, std::string secret, Nonce nonce)
    : group_(std::move(group)), secret_(std::move(secret)), mine_(nonce) {}

std::vector<std::byte> AuthClient::open() const {
  Writer w;
  w.u8(kOpen);
  w.u8(secret_.empty() ? 0 : 1);
  w.text(view_of(mine_));
  w.text(group_);
  return w.take();
}

AuthStep AuthClient::fail(std::string why) {
  state_ = State::kFailed;
  return {{}, Error{Code::kRefused, std::move(why)}};
}

AuthStep AuthClient::on(std::span<const std::byte> message) {
  Reader r(message);
  const std::uint8_t tag = r.u8();
  if (tag == kReject && (state_ == State::kOpened || state_ == State::kAnswered)) {
    const std::string why = r.text(kMaxReason);
    return fail(r.done() && !why.empty() ? why : "refused without a reason");
  }
  if (tag == kAccept && state_ == State::kOpened && r.done()) {
    if (!secret_.empty()) return fail("the peer knows no secret, this side has one");
    state_ = State::kDone;
    return {};
  }
  if (tag == kChallenge && state_ == State::kOpened && !secret_.empty() && read(r, theirs_) && r.done()) {
    state_ = State::kAnswered;
    return {with_text(kAnswer, view_of(mac_of(kClientLabel, secret_, theirs_, mine_, group_))), {}};
  }
  Mac proof;
  if (tag == kProof && state_ == State::kAnswered && read(r, proof) && r.done()) {
    if (!same(proof, mac_of(kServerLabel, secret_, theirs_, mine_, group_)))
      return fail("the peer could not prove that it knows the secret");
    state_ = State::kDone;
    return {};
  }
  return fail("malformed or unexpected answer in the handshake");
}

AuthServer::AuthServer(std::string group, std::string secret, Nonce nonce, bool any_group)
    : group_(std::move(group)), secret_(std::move(secret)), mine_(nonce), any_group_(any_group) {}

AuthStep AuthServer::fail(std::string why) {
  state_ = State::kFailed;
  return {auth_reject(why), Error{Code::kRefused, why}};
}

AuthStep AuthServer::on_open(std::span<const std::byte> message) {
  Reader r(message);
  if (r.u8() != kOpen) return fail("malformed or unexpected message in the handshake");
  const bool has_secret = r.u8() == 1;
  const bool nonce = read(r, theirs_);
  peer_group_ = r.text(kMaxGroupBytes);
  if (!nonce || !r.done()) return fail("malformed or unexpected message in the handshake");
  if (has_secret != !secret_.empty())
    return fail(has_secret ? "a secret was given, but this side has none" : "a secret is needed here, none was given");
  if (peer_group_ != group_ && !(any_group_ && (peer_group_.empty() || is_subgroup(peer_group_, group_))))
    return fail(secret_.empty() ? "this side serves group '" + group_ + "', not '" + peer_group_ + "'"
                                : "this side serves another group than '" + peer_group_ + "'");
  if (secret_.empty()) {
    state_ = State::kDone;
    return {{std::byte{kAccept}}, {}};
  }
  state_ = State::kChallenged;
  return {with_text(kChallenge, view_of(mine_)), {}};
}

AuthStep AuthServer::on(std::span<const std::byte> message) {
  if (state_ == State::kFresh) return on_open(message);
  Reader r(message);
  Mac answer;
  if (state_ != State::kChallenged || r.u8() != kAnswer || !read(r, answer) || !r.done())
    return fail("malformed or unexpected message in the handshake");
  if (!same(answer, mac_of(kClientLabel, secret_, mine_, theirs_, peer_group_))) return fail("the secret differs");
  state_ = State::kDone;
  return {with_text(kProof, view_of(mac_of(kServerLabel, secret_, mine_, theirs_, peer_group_))), {}};
}

}  // namespace regroup::wire

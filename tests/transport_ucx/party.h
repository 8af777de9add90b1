// Party: one end of links over UCX, and what it was sent. Chunks differ in every frame, so that a lost, doubled, late or torn
// one shows. Every wait has a bound.
#pragma once

#include <array>
#include <catch2/catch.hpp>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "transport/tcp/link_set.h"
#include "transport/ucx/ucx.h"

namespace regroup::ucx::testing {

inline constexpr Duration kBound = Duration::from_s(20);
inline constexpr std::size_t kChunk = 256u << 10;

inline bool within_bound(const std::function<bool()>& done) {
  for (const Instant until = now() + kBound; now() < until;)
    if (done()) return true;
  return false;
}

struct Party final : tcp::LinkUser {
  std::unique_ptr<tcp::LinkSet> links;
  tcp::Peer peer;
  // To send: `count` frames of `bytes` to each peer, the n-th filled with what fill() says.
  std::size_t count = 0, bytes = kChunk;
  std::vector<std::size_t> sent, got;
  std::vector<std::byte> out;
  std::vector<std::vector<std::byte>> in;  // by peer: one frame at a time
  std::size_t wrong = 0;
  bool opaque = false;  // as memory of a GPU, with sums that are none: nobody here is to look
  bool waits = true;  // false: a peer that takes nothing keeps nobody else from being sent to
  std::array<std::vector<std::byte>, 256> stay;  // then, by what fills them

  static std::byte fill(std::size_t n) { return static_cast<std::byte>(n * 7 + 1); }

  static Party make(std::uint32_t id, Duration suspicion = Duration::from_s(1)) {
    Result<std::shared_ptr<tcp::Lanes>> lanes = open_lanes(wire::group_hash("ucx_test"), "127.0.0.1");
    REQUIRE(lanes.ok());
    tcp::LinkOptions options;
    options.self = {"ucx_test", "", {id, 0}, {id + 1, 7}};
    options.host = "127.0.0.1";
    options.suspicion = suspicion;
    options.lanes = *lanes;
    auto links = tcp::LinkSet::listen(options);
    REQUIRE(links.ok());
    Party p;
    p.links = std::move(*links);
    p.peer = {options.self.id, options.self.inc, p.links->endpoint()};
    return p;
  }
  void enter(Epoch epoch, const std::vector<tcp::Peer>& peers, std::size_t self) {
    sent.assign(peers.size(), 0);
    got.assign(peers.size(), 0);
    in.assign(peers.size(), std::vector<std::byte>(1u << 20));
    links->enter(epoch, peers, self, *this);
  }
  tcp::Placement place(std::size_t who, const wire::Frame&) override { return {tcp::Take::kInto, in[who].data(), opaque}; }
  bool arrived(std::size_t who, const wire::Frame& frame) override {
    const std::byte want = fill(got[who]);
    if (opaque && frame.payload_sum != frame.op + 5) ++wrong;
    if (frame.op != got[who]++) ++wrong;
    for (std::size_t i = 0; i < frame.length; ++i) wrong += in[who][i] != want;
    return true;
  }
  bool next(std::size_t who, tcp::Outgoing& o) override {
    if (sent[who] == count || (waits && links->sending())) return false;  // one at a time: its bytes stay until it is sent
    const std::byte with = fill(sent[who]);
    std::vector<std::byte>& from = waits ? out : stay[std::to_integer<std::size_t>(with)];
    if (waits || from.empty()) from.assign(bytes, with);
    o.frame = {};
    o.frame.type = tcp::kFirstUserType;
    o.frame.op = sent[who]++;
    wire::fill(o.frame, from);
    if (opaque) o.frame.payload_sum = o.frame.op + 5;
    o.payload = from.data();
    o.opaque = opaque;
    return true;
  }
  bool flushed(std::size_t) override { return false; }
};

}  // namespace regroup::ucx::testing

// The handshake of data connections (transport/tcp/handshake.h), either side, frame by frame. The first byte says which
// side, and whether a secret is needed. Held: with a secret nobody gets through who does not know it; without one, an
// acceptor is content only with a HELLO that means this very incarnation; what comes after is held for the next user.
#include "transport/tcp/handshake.h"

#include <cstring>
#include <memory>

#include "base/bytes.h"
#include "tests/fuzz/source.h"

using namespace regroup;
using namespace regroup::tcp;

namespace {

constexpr Incarnation kSelf{1, 2}, kOther{3, 4};

// The payload of a HELLO or an opening, right but for what the script changes.
std::vector<std::byte> payload_of(fuzz::Source& source, std::uint8_t how) {
  if (how % 4 == 0) {
    Writer w;
    w.u32(source.u8()), w.u32(0);
    const std::uint64_t who = source.number(), meant = source.below(4);
    w.u64(0), w.u64(who);
    w.u64(meant), w.u64(2);
    return w.take();
  }
  if (how % 4 == 1) return wire::AuthClient("group", source.flag() ? "wrong" : "", wire::Nonce{}).open();
  if (how % 4 == 2) return {std::byte{2}};  // an acceptance
  const auto bytes = fuzz::bytes_of(source.take(source.u8()));
  return {bytes.begin(), bytes.end()};
}

// From somebody, to this incarnation; whichever way the bytes were made.
bool right_hello(std::span<const std::byte> payload) {
  Reader r(payload);
  (void)r.u32(), (void)r.u32();
  const Incarnation who{r.u64(), r.u64()}, meant{r.u64(), r.u64()};
  return r.done() && !who.is_null() && meant == kSelf;
}

}  // namespace

FUZZ_TARGET(handshake) {
  fuzz::Source source(in);
  const std::uint8_t kind = source.u8();
  const bool connector = (kind & 1) != 0, secret = (kind & 2) != 0;
  Handshake handshake({"group", secret ? "a secret" : "", {7, 0}, kSelf},
                      connector ? std::optional(kOther) : std::nullopt);
  bool meant_us = false;
  for (int steps = 0; !source.done() && steps < 64; ++steps) {
    const std::uint8_t how = source.u8();
    const std::vector<std::byte> payload = payload_of(source, how);
    wire::Frame frame;
    frame.type = (how & 16) != 0 ? source.u8() : how >> 6;
    frame.group = wire::group_hash((how & 32) != 0 ? "other" : "group");
    wire::fill(frame, payload);
    const Placement placement = handshake.place(frame);
    if (placement.take == Take::kHold) {
      RG_CHECK(!secret);
      break;
    }
    if (placement.take != Take::kInto) return;
    RG_CHECK(frame.length <= wire::kMaxAuthBytes && (how & 32) == 0);
    if (!payload.empty()) std::memcpy(placement.into, payload.data(), payload.size());
    meant_us = meant_us || right_hello(payload);
    const bool go_on = handshake.arrived(frame);
    Outgoing out;
    while (handshake.next(out)) RG_CHECK(wire::checksum({out.payload, out.frame.length}) == out.frame.payload_sum);
    if (handshake.over()) RG_CHECK(!secret && (connector || (meant_us && !handshake.peer().is_null())));
    if (go_on) continue;
    RG_CHECK(!handshake.why().empty());
    return;
  }
}

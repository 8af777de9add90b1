// Frame headers (transport/wire/frame.h). First byte: 1 sets the right checksum, 2 also magic, version and the reserved
// bytes, so that the fuzzer gets behind them. Then 64 bytes of header, then a payload.
#include "transport/wire/frame.h"

#include <algorithm>

#include "tests/fuzz/source.h"

using namespace regroup;

namespace {

constexpr std::size_t kReservedAt = 56, kSumAt = 60;

void put(wire::HeaderBytes& out, std::size_t at, std::uint64_t v, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[at + i] = static_cast<std::byte>(v >> (8 * i));
}

}  // namespace

FUZZ_TARGET(frame) {
  fuzz::Source source(in);
  const std::uint8_t repair = source.u8();
  wire::HeaderBytes header{};
  std::ranges::copy(fuzz::bytes_of(source.take(wire::kHeaderBytes)), header.begin());
  if ((repair & 2) != 0)
    put(header, 0, wire::kMagic, 4), put(header, 4, wire::kVersion, 2), put(header, kReservedAt, 0, 4);
  if ((repair & 3) != 0) put(header, kSumAt, wire::checksum(std::span(header).first(kSumAt)), 4);
  const Result<wire::Frame> frame = wire::decode(header);
  if (!frame) {
    RG_CHECK(frame.code() == Code::kRefused);
    return;
  }
  RG_CHECK(frame->length <= wire::kMaxPayloadBytes);
  wire::HeaderBytes again;
  wire::encode(*frame, again);
  const bool reserved_zero =
      std::ranges::all_of(std::span(header).subspan(kReservedAt, 4), [](std::byte b) { return b == std::byte{}; });
  RG_CHECK(!reserved_zero || again == header);
  const Result<wire::Frame> back = wire::decode(again);
  RG_CHECK(back.ok() && *back == *frame);

  wire::Frame filled = *frame;  // any payload: its sum goes through, and a flipped bit is seen
  const auto payload = fuzz::bytes_of(source.rest());
  wire::fill(filled, payload);
  RG_CHECK(filled.length == payload.size() && filled.payload_sum == wire::checksum(payload));
}

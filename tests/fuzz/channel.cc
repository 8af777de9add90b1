// Framing of control connections (ft/driver/channel.h): bytes in any portions, frames that are whole, damaged, of
// another group, over the bound. Every message that comes through is decoded as a coordinator and a member would.
#include "ft/driver/channel.h"

#include <vector>

#include "ft/driver/codec.h"
#include "tests/fuzz/pair.h"
#include "tests/fuzz/source.h"
#include "transport/wire/frame.h"

using namespace regroup;

FUZZ_TARGET(channel) {
  fuzz::Source source(in);
  fuzz::Pair pair;
  Channel channel(std::move(pair.a), wire::group_hash("group"));
  const std::size_t bound = source.flag() ? kMaxControlBytes : 1024;
  channel.set_max_frame(bound);
  std::uint64_t sent = 0, got = 0;
  bool strangers = false;
  const auto on_frame = [&](ControlFrame type, std::span<const std::byte> payload) -> Status {
    ++got;
    RG_CHECK(payload.size() <= bound);
    if (type == ControlFrame::kToCoordinator) (void)decode_to_coordinator(payload);
    if (type == ControlFrame::kToMember) (void)decode_to_member(payload);
    return {};
  };
  Status status;
  for (int steps = 0; !source.done() && steps < 200 && status.ok(); ++steps) {
    const std::uint8_t what = source.u8();
    if (what % 4 == 0) {
      status = channel.receive(on_frame);
    } else if (what % 4 == 1) {
      strangers = true;
      fuzz::feed(pair.b.get(), fuzz::bytes_of(source.take(source.u8())));
    } else {
      wire::Frame frame;
      frame.type = static_cast<std::uint16_t>(what >> 4);
      frame.group = (what & 4) != 0 ? wire::group_hash("group") : source.below(3);
      std::vector<std::byte> payload((what & 128) != 0 ? source.u8() * std::size_t{16}
                                                       : 0);  // over the bound of a stranger
      const auto bytes = fuzz::bytes_of(source.take(source.u8()));
      payload.insert(payload.end(), bytes.begin(), bytes.end());
      wire::fill(frame, payload);
      strangers = strangers || payload.size() > bound;
      if ((what & 8) != 0) {
        strangers = true;
        frame.length ^= source.u8();
        frame.payload_sum ^= source.u8();
      }
      wire::HeaderBytes header;
      wire::encode(frame, header);
      const std::size_t fed = fuzz::feed(pair.b.get(), header) + fuzz::feed(pair.b.get(), payload);
      strangers = strangers || fed < header.size() + payload.size();  // the socket is full: the rest is lost
      ++sent;
    }
  }
  for (int i = 0; i < 8 && status.ok(); ++i) status = channel.receive(on_frame);
  if (!status.ok())
    RG_CHECK(status.code() == Code::kRefused && strangers);
  else if (!strangers)
    RG_CHECK(got + channel.dropped_frames() == sent);
}

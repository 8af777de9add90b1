// Member addresses (transport/wire/address.h): the bytes as they are, and an address made from them.
#include "transport/wire/address.h"

#include "tests/fuzz/source.h"

using namespace regroup;

FUZZ_TARGET(address) {
  const std::string bytes = fuzz::text_of(in);
  if (const Result<wire::MemberAddress> address = wire::decode_address(bytes))
    RG_CHECK(wire::encode(*address) == bytes);  // one address, one text

  fuzz::Source source(in);
  wire::MemberAddress made;
  made.data_host = source.text(64);
  made.data_port = source.u16();
  made.state_port = source.u16();
  made.segment_socket = source.text(100);
  made.death_socket = source.text(100);
  made.pid = static_cast<std::int32_t>(source.u64());
  made.host = source.u64();
  made.machine = source.text(wire::kMachineBytes);
  const Result<wire::MemberAddress> back = wire::decode_address(wire::encode(made));
  RG_CHECK(back.ok() && *back == made);
}

#include "transport/wire/address.h"

#include <catch2/catch.hpp>

#include "base/rng.h"

using namespace regroup;
using namespace regroup::wire;

namespace {

MemberAddress sample() { return {"fe80::1", 4711, 4712, "regroup-segments-x", "regroup-death-x", 12345, 0x123456789abcdefull, "cores=2"}; }

}  // namespace

TEST_CASE("a member address comes back as it was encoded") {
  const auto back = decode_address(encode(sample()));
  REQUIRE(back.ok());
  CHECK(*back == sample());
  CHECK(*decode_address(encode(MemberAddress{})) == MemberAddress{});
}

TEST_CASE("a truncated, longer or oversized member address is refused") {
  const std::string bytes = encode(sample());
  for (std::size_t n = 0; n < bytes.size(); ++n) CHECK(decode_address(bytes.substr(0, n)).code() == Code::kRefused);
  CHECK(decode_address(bytes + "x").code() == Code::kRefused);
  MemberAddress big = sample();
  big.data_host.assign(65, 'h');
  CHECK(decode_address(encode(big)).code() == Code::kRefused);
  big = sample();
  big.death_socket.assign(101, 's');
  CHECK(decode_address(encode(big)).code() == Code::kRefused);
}

TEST_CASE("random changes of a member address never crash its reader") {
  Rng rng(3);
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = encode(sample());
    for (int k = 0; k < 4; ++k) bytes[rng.below(bytes.size())] = static_cast<char>(rng.next());
    (void)decode_address(bytes);
  }
}

TEST_CASE("a host's locality is stable and not null") {
  CHECK(host_locality() != 0);
  CHECK(host_locality() == host_locality());
}

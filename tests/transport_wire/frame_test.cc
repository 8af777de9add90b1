#include "transport/wire/frame.h"

#include <catch2/catch.hpp>
#include <vector>

#include "base/rng.h"
#include "transport/wire/sum.h"

using namespace regroup;
using namespace regroup::wire;

namespace {

Frame sample() {
  Frame f;
  f.type = 7;
  f.group = group_hash("some group");
  f.epoch = 0x0102030405060708;
  f.op = 42;
  f.chunk = 3;
  f.length = 1000;
  f.offset = 1ull << 40;
  f.payload_sum = 0xdeadbeefcafef00d;
  return f;
}

}  // namespace

TEST_CASE("a frame header comes back as it was sent") {
  HeaderBytes bytes;
  encode(sample(), bytes);
  const auto back = decode(bytes);
  REQUIRE(back.ok());
  CHECK(*back == sample());
}

TEST_CASE("any flipped bit of a frame header is noticed") {
  HeaderBytes bytes;
  encode(sample(), bytes);
  for (std::size_t bit = 0; bit < kHeaderBytes * 8; ++bit) {
    HeaderBytes broken = bytes;
    broken[bit / 8] ^= static_cast<std::byte>(1u << (bit % 8));
    const auto back = decode(broken);
    INFO("bit " << bit);
    CHECK(back.code() == Code::kRefused);
  }
}

TEST_CASE("a frame over the bound is refused though its header is whole") {
  Frame f = sample();
  HeaderBytes bytes;
  f.length = kMaxPayloadBytes;
  encode(f, bytes);
  CHECK(decode(bytes).ok());
  f.length = kMaxPayloadBytes + 1;
  encode(f, bytes);
  CHECK(decode(bytes).code() == Code::kRefused);
}

TEST_CASE("another version is refused by its number") {
  HeaderBytes bytes;
  encode(sample(), bytes);
  bytes[4] = std::byte{9};
  const auto back = decode(bytes);
  REQUIRE(back.code() == Code::kRefused);
  CHECK(back.error().detail.find("version 9") != std::string::npos);
}

TEST_CASE("random bytes are never a frame") {
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) {
    HeaderBytes bytes;
    for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next());
    CHECK(!decode(bytes).ok());
  }
}

TEST_CASE("fill sets length and checksum of the payload") {
  std::vector<std::byte> payload(300, std::byte{5});
  Frame f;
  fill(f, payload);
  CHECK(f.length == 300);
  CHECK(f.payload_sum == checksum(payload));
  payload[299] = std::byte{6};
  CHECK(f.payload_sum != checksum(payload));
  fill(f, {});
  CHECK((f.length == 0 && f.payload_sum == 0));
}

TEST_CASE("the checksum of a payload is one number, whichever vectors of a processor it is made with") {
  Rng rng(11);
  std::vector<std::byte> bytes((1u << 20) + 3);
  for (std::byte& b : bytes) b = static_cast<std::byte>(rng.next());
  for (const std::size_t count : {0u, 1u, 240u, 241u, 1023u, 1024u, 1025u, 65'536u, (1u << 20) + 3u})
    for (const std::size_t at : {0u, 1u}) {
      if (at > count) continue;
      const std::uint64_t plain = count == at ? 0 : plain_sum(bytes.data() + at, count - at);
      CHECK(checksum({bytes.data() + at, count - at}) == plain);
      for (std::size_t i = 0; i < kWideSums; ++i)
        if (const WideSum wide = wide_sum(i); wide.supported && count != at) {
          INFO(wide.name << ", " << count - at << " bytes");
          CHECK(wide.sum(bytes.data() + at, count - at) == plain);
        }
    }
}

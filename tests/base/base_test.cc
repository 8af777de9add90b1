#include <catch2/catch.hpp>

#include "base/bytes.h"
#include "base/failpoint.h"
#include "base/fd.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/time.h"

using namespace regroup;

TEST_CASE("a result holds a value or a code with a detail") {
  Result<int> good = 7;
  Result<int> bad(Code::kInvalid, "count is negative");
  REQUIRE(good.ok());
  REQUIRE(*good == 7);
  REQUIRE_FALSE(bad.ok());
  REQUIRE(bad.code() == Code::kInvalid);
  REQUIRE(bad.error().detail == "count is negative");
  REQUIRE(std::string(code_name(bad.code())) == "kInvalid");
}

TEST_CASE("what a writer wrote a reader reads back, little-endian") {
  Writer w;
  w.u8(1), w.u16(0x0203), w.u32(0x04050607), w.u64(0x08090a0b0c0d0e0full), w.text("abc");
  REQUIRE(std::to_integer<int>(w.bytes()[1]) == 3);  // low byte first
  Reader r(w.bytes());
  REQUIRE(r.u8() == 1);
  REQUIRE(r.u16() == 0x0203);
  REQUIRE(r.u32() == 0x04050607);
  REQUIRE(r.u64() == 0x08090a0b0c0d0e0full);
  REQUIRE(r.text(3) == "abc");
  REQUIRE(r.done());
}

TEST_CASE("a reader refuses short input and lengths over their bound, and never reads on") {
  Writer w;
  w.text("abcdef");
  Reader bounded(w.bytes());
  REQUIRE(bounded.text(5).empty());
  REQUIRE_FALSE(bounded.ok());
  Reader truncated(w.bytes().first(7));
  REQUIRE(truncated.text(100).empty());
  REQUIRE_FALSE(truncated.ok());
  REQUIRE(truncated.u64() == 0);
}

TEST_CASE("never stays never when a duration is added") {
  REQUIRE((Instant::never() + Duration::from_s(5)).is_never());
  REQUIRE((Instant{INT64_MAX - 1} + Duration::from_s(5)).is_never());
  REQUIRE((Instant{5} + Duration{6}).ns == 11);
}

TEST_CASE("incarnations are random and never null") {
  REQUIRE_FALSE(random_incarnation().is_null());
  REQUIRE(random_incarnation() != random_incarnation());
}

TEST_CASE("a failpoint whose count fits no number is refused, not armed at the first hit") {
  Failpoints points;
  CHECK(points.arm("step#99999999999999999999=call").code() == Code::kConfig);
  CHECK(points.arm("step#=call").code() == Code::kConfig);
  CHECK(points.arm("step#18446744073709551615=call").ok());
}

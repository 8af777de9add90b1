#include "runtime/state/stripe_table.h"

#include <catch2/catch.hpp>

#include "runtime/state/throttle.h"

using namespace regroup;
using namespace regroup::state;

namespace {

Tensor tensor(const std::string& name, DataType type, std::vector<std::uint64_t> shape) {
  std::uint64_t n = size_of(type);
  for (std::uint64_t d : shape) n *= d;
  return {name, type, std::move(shape), n};
}

}  // namespace

TEST_CASE("tensors are cut into stripes, and a range finds those that it touches") {
  const StripeTable table({tensor("a", DataType::kU8, {10000}), tensor("b", DataType::kF32, {3})}, 4096);
  REQUIRE(table.size() == 4);
  CHECK(table.bytes() == 10012);
  CHECK(table[2].bytes == 10000 - 8192);
  CHECK(table[3].tensor == 1);
  const auto range = [&](std::uint32_t t, std::uint64_t at, std::uint64_t n) {
    const auto r = table.overlapping(t, at, n);
    return std::pair(r.first, r.last);
  };
  CHECK(range(0, 0, 10000) == std::pair(0u, 3u));
  CHECK(range(0, 4095, 2) == std::pair(0u, 2u));
  CHECK(range(0, 4096, 4096) == std::pair(1u, 2u));
  CHECK(range(0, 8192, UINT64_MAX) == std::pair(2u, 3u));
  CHECK(range(1, 0, 4) == std::pair(3u, 4u));
  CHECK(range(0, 0, 0) == std::pair(0u, 0u));
  CHECK(range(7, 0, 1) == std::pair(0u, 0u));
}

TEST_CASE("tables that differ are told apart by the names, types and shapes that differ") {
  const StripeTable mine({tensor("w", DataType::kF32, {3, 4}), tensor("b", DataType::kF32, {4})});
  CHECK(mine.compare(mine).ok());
  const auto why = [&](const StripeTable& theirs) { return mine.compare(theirs).error().detail; };
  CHECK_THAT(why(StripeTable({tensor("w", DataType::kF32, {4, 3}), tensor("b", DataType::kF32, {4})})),
             Catch::Contains("'w' is float[3,4] here and float[4,3] there"));
  CHECK_THAT(why(StripeTable({tensor("w", DataType::kI32, {3, 4}), tensor("b", DataType::kF32, {4})})),
             Catch::Contains("'w' is float[3,4] here and int32[3,4] there"));
  CHECK_THAT(why(StripeTable({tensor("w", DataType::kF32, {3, 4}), tensor("momentum", DataType::kF32, {4})})),
             Catch::Contains("'b' is only here") && Catch::Contains("'momentum' is only there"));
  CHECK_THAT(why(StripeTable({tensor("b", DataType::kF32, {4}), tensor("w", DataType::kF32, {3, 4})})), Catch::Contains("order"));
  CHECK(mine.compare(StripeTable({}, 4096)).code() == Code::kConfig);
}

TEST_CASE("a table survives its encoding, and malformed ones are refused") {
  const StripeTable table({tensor("w", DataType::kBF16, {3, 4}), tensor("rng", DataType::kU8, {77})});
  Writer w;
  table.encode(w);
  Reader whole(w.bytes());
  Result<StripeTable> back = StripeTable::decode(whole);
  REQUIRE(back.ok());
  CHECK(whole.done());
  CHECK(back->tensors() == table.tensors());
  CHECK(table.compare(*back).ok());
  for (std::size_t cut = 0; cut < w.bytes().size(); ++cut) {
    Reader part(w.bytes().first(cut));
    CHECK_FALSE(StripeTable::decode(part).ok());
  }
  Writer huge;
  StripeTable({{"w", DataType::kU8, {}, 1}}).encode(huge);
  std::vector<std::byte> bytes(huge.bytes().begin(), huge.bytes().end());
  for (std::size_t i = bytes.size() - 8; i < bytes.size(); ++i) bytes[i] = std::byte{0xff};
  Reader r(bytes);
  CHECK_FALSE(StripeTable::decode(r).ok());
  Writer twice;  // which of the two is meant?
  StripeTable({{"w", DataType::kU8, {}, 1}, {"w", DataType::kF32, {}, 4}}).encode(twice);
  Reader of_twice(twice.bytes());
  CHECK_FALSE(StripeTable::decode(of_twice).ok());
}

TEST_CASE("tensors without a byte have no stripe, and are found between those that have") {
  const StripeTable table({{"a", DataType::kU8, {}, 0}, {"b", DataType::kU8, {}, 4097}, {"c", DataType::kU8, {}, 0},
                           {"d", DataType::kU8, {}, 0}, {"e", DataType::kU8, {}, 5}},
                          4096);
  REQUIRE(table.size() == 3);
  CHECK((table[0].tensor == 1 && table[0].offset == 0 && table[0].bytes == 4096));
  CHECK((table[1].tensor == 1 && table[1].offset == 4096 && table[1].bytes == 1));
  CHECK((table[2].tensor == 4 && table[2].offset == 0 && table[2].bytes == 5));
  CHECK(StripeTable().size() == 0);
}

TEST_CASE("a throttle lets a burst through and then keeps to its rate") {
  Throttle none(0);
  CHECK(none.take(1u << 30, Instant{5}).ns == 0);
  Throttle bound(100'000'000);  // 100 MB/s
  Instant at{1'000'000'000};
  const Instant begin = at;
  std::uint64_t sent = 0;
  for (int i = 0; i < 1000; ++i, sent += 100'000) at = at + bound.take(100'000, at);
  const double rate = static_cast<double>(sent) / static_cast<double>((at - begin).ns) * 1e9;
  CHECK(rate == Approx(100e6).epsilon(0.03));
  at = at + Duration::from_s(100);  // a pause gives no more than the burst
  const Instant after = at;
  for (int i = 0; i < 100; ++i) at = at + bound.take(100'000, at);
  CHECK((at - after).ms() > 70);
}

TEST_CASE("a share of a core is kept to by CPU time, a short transfer is not held up, and idle time saves up little") {
  CpuShare none(0, {});
  CHECK(none.rest(Duration::from_s(100), Instant{5}).ns == 0);
  CpuShare share(0.1, Duration::from_ms(30));
  Instant at{1'000'000'000};
  for (int i = 0; i < 30; ++i) {
    at = at + Duration::from_ms(1);
    CHECK(share.rest(Duration::from_ms(1), at).ns == 0);
  }
  const auto work = [&](int n) {  // of a millisecond of CPU time each
    const Instant begin = at;
    for (int i = 0; i < n; ++i) at = at + Duration::from_ms(1), at = at + share.rest(Duration::from_ms(1), at);
    return static_cast<double>(n) / static_cast<double>((at - begin).ms());
  };
  CHECK(work(200) == Approx(0.1).epsilon(0.05));
  at = at + Duration::from_s(100);
  CHECK(work(200) == Approx(0.1).epsilon(0.05));
  // A slow network: little CPU time in much time needs no rest.
  for (int i = 0; i < 10; ++i) {
    at = at + Duration::from_ms(100);
    CHECK(share.rest(Duration::from_us(500), at).ns == 0);
  }
}

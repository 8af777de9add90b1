#include "runtime/state/snapshot.h"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>
#include <thread>

using namespace regroup;
using namespace regroup::state;

namespace {

constexpr std::uint32_t kBytes = 4096;
constexpr std::uint32_t kStripes = 32;

struct Owner {
  std::vector<std::uint64_t> data = std::vector<std::uint64_t>(kStripes * kBytes / 8);
  StripeTable table{{{"w", DataType::kU64, {}, kStripes * kBytes}}, kBytes};
  Owner() { write(1); }
  void write(std::uint64_t step) {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = step << 32 | i;
  }
  Snapshot snapshot(const Snapshot::Share& share, std::uint64_t bound = UINT64_MAX) {
    return Snapshot(table, {reinterpret_cast<const std::byte*>(data.data())}, share, bound);
  }
  // The step that a whole stripe is of; 0: torn or foreign.
  static std::uint64_t step_of(const std::vector<std::byte>& bytes, std::uint32_t stripe) {
    std::uint64_t step = 0;
    for (std::uint32_t i = 0; i < kBytes / 8; ++i) {
      std::uint64_t v = 0;
      std::memcpy(&v, bytes.data() + i * 8, 8);
      if (i == 0) step = v >> 32;
      if (v != (step << 32 | (stripe * (kBytes / 8) + i))) return 0;
    }
    return step;
  }
};

const Snapshot::Share kAll = [](std::uint32_t) { return Snapshot::Keep::kBytes; };

}  // namespace

TEST_CASE("stripes are those of the mark, whatever the owner has written since") {
  Owner owner;
  Snapshot snapshot = owner.snapshot(kAll);
  std::vector<std::byte> into(kBytes);
  REQUIRE(snapshot.read(3, into) == Snapshot::Read::kOk);
  CHECK(Owner::step_of(into, 3) == 1);
  CHECK(snapshot.kept_bytes() == 0);
  for (std::uint64_t step = 2; step < 5; ++step) {
    snapshot.before_update({0, 16});
    owner.write(step);  // also the other half, which is read as it is
  }
  CHECK(snapshot.kept_bytes() == 16 * kBytes);
  REQUIRE(snapshot.read(3, into) == Snapshot::Read::kOk);
  CHECK(Owner::step_of(into, 3) == 1);
  std::uint64_t digest = 0;
  REQUIRE(snapshot.digest(3, digest) == Snapshot::Read::kOk);
  CHECK(digest == digest_of(into));
  snapshot.drop(3);
  CHECK(snapshot.kept_bytes() == 15 * kBytes);
  CHECK(snapshot.read(3, into) == Snapshot::Read::kGone);
  snapshot.end();
  CHECK(snapshot.kept_bytes() == 0);
  CHECK(snapshot.read(4, into) == Snapshot::Read::kOver);
}

TEST_CASE("a member keeps the bytes of its share, the digests of the next one, and nothing else") {
  Owner owner;
  std::vector<std::byte> before(kBytes), into(kBytes);
  const auto original = owner.data;
  Snapshot snapshot = owner.snapshot(Snapshot::share_of(1, 4));
  snapshot.before_update({0, kStripes});
  owner.write(2);
  CHECK(snapshot.kept_bytes() == kStripes / 4 * kBytes);
  for (std::uint32_t i = 0; i < kStripes; ++i) {
    std::uint64_t digest = 0;
    CHECK((snapshot.read(i, into) == Snapshot::Read::kOk) == (i % 4 == 1));
    const bool told = i % 4 == 1 || (i + 1) % 4 == 1;
    CHECK((snapshot.digest(i, digest) == Snapshot::Read::kOk) == told);
    std::memcpy(before.data(), original.data() + i * kBytes / 8, kBytes);
    if (told) CHECK(digest == digest_of(before));
  }
}

TEST_CASE("over its bound a snapshot ends, and says so") {
  Owner owner;
  Snapshot snapshot = owner.snapshot(kAll, 5 * kBytes);
  snapshot.before_update({0, 5});
  CHECK_FALSE(snapshot.over());
  snapshot.before_update({5, 6});
  CHECK(snapshot.over());
  std::vector<std::byte> into(kBytes);
  CHECK(snapshot.read(9, into) == Snapshot::Read::kOver);
}

TEST_CASE("no stripe is torn while the owner updates as fast as it can") {
  Owner owner;
  for (int round = 0; round < 30; ++round) {
    owner.write(1);
    Snapshot snapshot = owner.snapshot(kAll);
    std::atomic<bool> go{false};
    std::atomic<int> bad{0};
    std::vector<std::thread> readers;
    for (std::uint32_t r = 0; r < 2; ++r)
      readers.emplace_back([&, r] {
        while (!go.load()) {
        }
        std::vector<std::byte> into(kBytes);
        for (std::uint32_t i = 0; i < kStripes; ++i) {
          const std::uint32_t stripe = r == 0 ? i : kStripes - 1 - i;
          if (snapshot.read(stripe, into) != Snapshot::Read::kOk || Owner::step_of(into, stripe) != 1) ++bad;
        }
      });
    go.store(true);
    for (std::uint64_t step = 2; step < 6; ++step) {
      snapshot.before_update({0, kStripes});
      owner.write(step);
    }
    for (std::thread& t : readers) t.join();
    REQUIRE(bad.load() == 0);
  }
}

TEST_CASE("memory for two updates like the last is there before they come, and no more than may be kept") {
  std::vector<std::byte> data(8 * kStripeBytes, std::byte{1});
  const StripeTable table({{"w", DataType::kU8, {}, data.size()}});
  const auto count = [](Snapshot& snapshot) {
    int n = 0;
    while (n < 100 && snapshot.make_spare()) ++n;
    return n;
  };
  Snapshot snapshot(table, {data.data()}, Snapshot::share_of(0, 2), UINT64_MAX, 2 * kStripeBytes);
  CHECK(count(snapshot) == 2);  // of two stripes a time every other one is kept
  snapshot.before_update({0, 2});
  std::fill_n(data.begin(), 2 * kStripeBytes, std::byte{2});
  CHECK(count(snapshot) == 1);
  std::vector<std::byte> into(kStripeBytes);
  REQUIRE(snapshot.read(0, into) == Snapshot::Read::kOk);
  CHECK(std::count(into.begin(), into.end(), std::byte{1}) == static_cast<std::ptrdiff_t>(kStripeBytes));
  snapshot.before_update({0, 8});
  CHECK(count(snapshot) == 0);
  CHECK(snapshot.kept_bytes() == 4 * kStripeBytes);
  Snapshot bound(table, {data.data()}, kAll, 3 * kStripeBytes, 8 * kStripeBytes);
  CHECK(count(bound) == 3);
  bound.end();
  CHECK(count(bound) == 0);
}

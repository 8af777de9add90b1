// The account of a recovery run must see every kind of loss; its payload every kind of wrong bit.
#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "bench/recovery/page.h"
#include "bench/recovery/payload.h"

using namespace regroup::bench;

namespace {

constexpr std::size_t kCount = 10'000;

Commit commit(std::uint64_t step, std::uint64_t epoch, std::uint64_t contributors, std::uint32_t life = 1) {
  Commit out;
  out.step = step;
  out.epoch = epoch;
  out.contributors = contributors;
  out.life = life;
  out.attempts = 1;
  return out;
}

// What an all-reduce of the contributors would give.
std::vector<float> result(const Payload& payload, std::uint64_t step, std::uint64_t contributors,
                          std::size_t count = kCount) {
  std::vector<float> out(count), in(count);
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    if ((contributors >> rank & 1) == 0) continue;
    payload.fill(in.data(), count, Payload::variant_of(step), rank);
    payload.stamp(in.data(), count, step, rank);
    for (std::size_t i = 0; i < count; ++i) out[i] += in[i];
  }
  return out;
}

}  // namespace

TEST_CASE("members that commit every step once, through a kill and a return, lose nothing") {
  Ledger ledger(3);
  for (std::uint64_t step = 0; step < 5; ++step) {
    for (std::size_t m = 0; m < 3; ++m) ledger.add(m, commit(step, 1, 7));
  }
  ledger.add(0, commit(5, 1, 7));  // the victim commits it, dies, and the others commit it by the decision
  for (std::size_t m : {1, 2}) ledger.add(m, commit(5, 1, 7));
  for (std::uint64_t step = 6; step < 9; ++step) {
    for (std::size_t m : {1, 2}) ledger.add(m, commit(step, 2, 6));
  }
  for (std::size_t m : {0, 1, 2}) ledger.add(m, commit(9, 3, 7, m == 0 ? 2 : 1));
  CHECK(ledger.lost_steps() == 0);
  CHECK(ledger.wrong_results() == 0);
  CHECK(ledger.steps() == 10);
  CHECK(ledger.findings().empty());
}

TEST_CASE("a survivor that skips a step has lost it") {
  Ledger ledger(2);
  for (std::uint64_t step : {0, 1, 4}) ledger.add(0, commit(step, 1, 3));
  CHECK(ledger.lost_steps() == 2);
}

TEST_CASE("a survivor that commits a step twice has not committed it exactly once") {
  Ledger ledger(2);
  for (std::uint64_t step : {0, 1, 1, 2}) ledger.add(0, commit(step, 1, 3));
  CHECK(ledger.lost_steps() == 1);
}

TEST_CASE("a step lost by two members is one lost step") {
  Ledger ledger(2);
  for (std::size_t m : {0, 1}) {
    for (std::uint64_t step : {0, 2}) ledger.add(m, commit(step, 1, 3));
  }
  CHECK(ledger.lost_steps() == 1);
}

TEST_CASE("a returning member must commit its view from the first step on") {
  Ledger ledger(2);
  for (std::size_t m : {0, 1}) ledger.add(m, commit(0, 1, 3));
  ledger.add(0, commit(1, 2, 1));
  ledger.add(0, commit(2, 3, 3));  // rank 1 is back in view 3
  ledger.add(0, commit(3, 3, 3));
  ledger.add(1, commit(3, 3, 3, 2));  // but has only step 3
  CHECK(ledger.lost_steps() == 1);
  CHECK(ledger.wrong_results() == 0);
}

TEST_CASE("what a killed incarnation left open is not lost") {
  Ledger ledger(2);
  for (std::size_t m : {0, 1}) ledger.add(m, commit(0, 1, 3));
  ledger.add(0, commit(1, 1, 3));  // prepared by rank 1, which died before its commit
  ledger.add(0, commit(2, 2, 1));
  ledger.add(0, commit(3, 3, 3));
  ledger.add(1, commit(3, 3, 3, 2));
  CHECK(ledger.lost_steps() == 0);
}

TEST_CASE("two members that commit a step with different contributors are a wrong result") {
  Ledger ledger(2);
  ledger.add(0, commit(0, 1, 3));
  ledger.add(1, commit(0, 2, 2));
  CHECK(ledger.wrong_results() == 1);
  CHECK(ledger.lost_steps() == 0);
}

TEST_CASE("wrong bits, and a commit without oneself, are wrong results") {
  Ledger ledger(2);
  Commit bad = commit(0, 1, 3);
  bad.wrong = 5;
  ledger.add(0, bad);
  ledger.add(1, commit(0, 1, 3));
  CHECK(ledger.wrong_results() == 1);
  ledger.add(1, commit(1, 2, 1));
  CHECK(ledger.wrong_results() == 2);
  CHECK(ledger.findings().size() == 2);
}

TEST_CASE("a right payload is right for any set of contributors and any length") {
  Payload payload(3, 4);
  for (std::uint64_t contributors : {15ull, 7ull, 8ull, 11ull}) {
    for (std::size_t count : {std::size_t{1}, std::size_t{2}, std::size_t{1023}, std::size_t{1025}, kCount}) {
      for (std::uint64_t step : {0ull, 1ull, 2ull, 1000ull}) {
        const auto out = result(payload, step, contributors, count);
        CHECK(payload.count_wrong(out.data(), count, step, contributors) == 0);
      }
    }
  }
}

TEST_CASE("a payload with one changed element has one wrong element") {
  Payload payload(3, 4);
  for (std::size_t at : {std::size_t{0}, std::size_t{1}, std::size_t{1024}, std::size_t{5000}, kCount - 1}) {
    auto out = result(payload, 4, 15);
    out[at] += 1;
    CHECK(payload.count_wrong(out.data(), kCount, 4, 15) == 1);
  }
}

TEST_CASE("any page of an earlier step of the same variant shows") {
  Payload payload(3, 4);
  const std::uint64_t step = 10, earlier = step - Payload::kVariants;
  REQUIRE(Payload::variant_of(step) == Payload::variant_of(earlier));
  const auto stale = result(payload, earlier, 15);
  for (std::size_t page = 0; page * 1024 < kCount; ++page) {
    auto out = result(payload, step, 15);
    const std::size_t n = std::min<std::size_t>(1024, kCount - page * 1024);
    std::memcpy(out.data() + page * 1024, stale.data() + page * 1024, n * sizeof(float));
    CHECK(payload.count_wrong(out.data(), kCount, step, 15) == 1);
  }
}

TEST_CASE("a step before, other contributors and a shifted shard are wrong nearly everywhere") {
  Payload payload(3, 4);
  CHECK(payload.count_wrong(result(payload, 9, 15).data(), kCount, 10, 15) > kCount * 9 / 10);
  CHECK(payload.count_wrong(result(payload, 10, 7).data(), kCount, 10, 15) > kCount * 9 / 10);
  auto out = result(payload, 10, 15);
  std::memmove(out.data(), out.data() + 4096, 4096 * sizeof(float));
  CHECK(payload.count_wrong(out.data(), kCount, 10, 15) > 4096 * 9 / 10);
  CHECK(payload.count_wrong(out.data(), kCount, 10, 0) == kCount);
}

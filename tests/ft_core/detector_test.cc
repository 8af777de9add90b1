// The detector: who was not heard of for too long, counted only in time in which the detector ran.
#include "ft/core/detector.h"

#include <catch2/catch.hpp>

namespace regroup {
namespace {

constexpr Incarnation kA{1, 1}, kB{2, 1};
constexpr Instant at_ms(std::int64_t ms) { return Instant{1'000'000'000} + Duration::from_ms(ms); }

struct Ticking {
  Detector detector{Duration::from_ms(1000), Duration::from_ms(200)};
  std::vector<Incarnation> suspects;
  void run(std::int64_t from_ms, std::int64_t to_ms) {
    for (std::int64_t t = from_ms; t <= to_ms; t += 20) suspects = detector.tick(at_ms(t));
  }
};

TEST_CASE("detector: who is silent for the suspicion time is suspected, not earlier") {
  Ticking t;
  t.detector.watch(kA, at_ms(0));
  t.run(0, 980);
  CHECK(t.suspects.empty());
  t.run(1000, 1000);
  CHECK(t.suspects == std::vector{kA});
}

TEST_CASE("detector: who is heard of starts its time again") {
  Ticking t;
  t.detector.watch(kA, at_ms(0));
  t.detector.watch(kB, at_ms(0));
  t.run(0, 900);
  t.detector.heard(kA, at_ms(900));
  t.run(920, 1100);
  CHECK(t.suspects == std::vector{kB});
  t.run(1120, 1900);
  CHECK(t.suspects == std::vector{kA, kB});
}

TEST_CASE("detector: a closed connection shortens the time, a word from it restores it") {
  Ticking t;
  t.detector.watch(kA, at_ms(0));
  t.detector.watch(kB, at_ms(0));
  t.run(0, 100);
  t.detector.shorten(kA, at_ms(100), Duration::from_ms(50));
  t.detector.shorten(kB, at_ms(100), Duration::from_ms(50));
  t.detector.heard(kB, at_ms(120));
  t.run(120, 160);
  CHECK(t.suspects == std::vector{kA});
}

TEST_CASE("detector: a pause of its own process is not held against anybody (clock jumps)") {
  Ticking t;
  t.detector.watch(kA, at_ms(0));
  t.run(0, 100);
  t.run(60'000, 60'000);
  CHECK(t.suspects.empty());
  t.run(60'020, 60'680);
  CHECK(t.suspects.empty());
  t.run(60'700, 61'000);  // 100 before the pause, 200 of the gap, 700 after it
  CHECK(t.suspects == std::vector{kA});
}

TEST_CASE("detector: who was heard of in the drain after a pause gets one suspicion time, not the pause on top") {
  Ticking t;
  t.detector.watch(kA, at_ms(0));
  t.run(0, 100);
  t.detector.heard(kA, at_ms(60'000));
  t.run(60'000, 61'000);
  CHECK(t.suspects == std::vector{kA});
}

TEST_CASE("detector: who is forgotten is not suspected, and a word from a stranger does not watch it") {
  Ticking t;
  t.detector.watch(kA, at_ms(0));
  t.detector.forget(kA);
  t.detector.heard(kB, at_ms(0));
  t.run(0, 5000);
  CHECK(t.suspects.empty());
}

}  // namespace
}  // namespace regroup

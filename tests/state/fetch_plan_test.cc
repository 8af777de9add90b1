// The scheduler in a small world of its own: sources with a speed, faults, virtual time.
#include "runtime/state/fetch_plan.h"

#include <catch2/catch.hpp>
#include <functional>
#include <queue>

using namespace regroup;
using namespace regroup::state;

namespace {

constexpr std::uint32_t kStripe = 100'000;

struct World {
  struct Source {
    double speed = 1e9;                        // bytes/s
    Instant stops = Instant::never();          // answers nothing from here on
    Instant breaks = Instant::never();         // its connection ends
    std::function<bool(std::uint32_t)> lies;   // wrong bytes
    std::function<bool(std::uint32_t)> wrong_digest;
    std::function<bool(std::uint32_t)> lacks;
    bool busy = false;
  };
  std::vector<Source> sources;
  std::uint32_t stripes;
  FetchPlan plan;
  std::vector<std::uint64_t> held = std::vector<std::uint64_t>(stripes, 0);
  Instant at{0};

  World(std::uint32_t n, std::uint32_t count)
      : sources(n), stripes(count), plan(std::vector<std::uint32_t>(count, kStripe), n, {}) {}

  static std::uint64_t right(std::uint32_t stripe) { return 1000 + stripe; }

  // Until done or stuck; false: neither within the bound.
  bool run(Duration bound = Duration::from_s(60)) {
    struct Answer {
      std::int64_t at;
      std::uint32_t source, stripe;
      bool digest;
      bool operator<(const Answer& o) const { return at > o.at; }
    };
    std::priority_queue<Answer> due;
    std::vector<std::size_t> left(sources.size());
    for (Instant tick{0}; at < Instant{} + bound; tick = tick + Duration::from_ms(1)) {
      at = tick;
      while (!due.empty() && due.top().at <= at.ns) {
        const Answer a = due.top();
        due.pop();
        Source& s = sources[a.source];
        if (Instant{a.at} >= s.stops || Instant{a.at} >= s.breaks) continue;
        --left[a.source];
        const Instant t{a.at};
        if (s.lacks && s.lacks(a.stripe)) plan.gone(a.source, a.stripe, t);
        else if (a.digest) plan.told(a.source, a.stripe, right(a.stripe) + (s.wrong_digest && s.wrong_digest(a.stripe)), t);
        else {
          const std::uint64_t digest = right(a.stripe) + (s.lies && s.lies(a.stripe) ? 7 : 0);
          if (plan.arrived(a.source, a.stripe, digest, t)) held[a.stripe] = digest;
        }
      }
      plan.tick(at);
      for (std::uint32_t i = 0; i < sources.size(); ++i) {
        Source& s = sources[i];
        if (at >= s.breaks) plan.lost(i, "connection ended");
        if (left[i] != 0) continue;
        const FetchPlan::Ask ask = plan.next(i, at);
        double t = static_cast<double>(at.ns);
        for (std::uint32_t stripe : ask.stripes) {
          t += kStripe / s.speed * 1e9;
          due.push({static_cast<std::int64_t>(t), i, stripe, false});
        }
        for (std::uint32_t stripe : ask.digests) due.push({static_cast<std::int64_t>(t + 1000), i, stripe, true});
        left[i] += ask.stripes.size() + ask.digests.size();
      }
      if (plan.done() || plan.stuck()) return true;
    }
    return false;
  }
  bool all_right() const {
    for (std::uint32_t i = 0; i < stripes; ++i)
      if (held[i] != right(i)) return false;
    return plan.done();
  }
};

}  // namespace

TEST_CASE("sources share the work by what they can carry") {
  World w(3, 3000);
  w.sources[0].speed = 100e6;
  w.sources[1].speed = 50e6;
  w.sources[2].speed = 50e6;
  REQUIRE(w.run());
  REQUIRE(w.all_right());
  CHECK(static_cast<double>(w.at.ns) / 1e9 < 3000.0 * kStripe / 200e6 * 1.2);  // all were busy to the end
  CHECK(w.plan.sources()[0].bytes > w.plan.sources()[1].bytes * 3 / 2);
  CHECK(w.plan.bytes_done() == 3000ull * kStripe);
}

TEST_CASE("one source alone is believed") {
  World w(1, 100);
  REQUIRE(w.run());
  CHECK(w.all_right());
}

TEST_CASE("a source that dies is replaced, and what it alone had vouched for comes from another") {
  World w(3, 1000);
  for (auto& s : w.sources) s.speed = 100e6;
  w.sources[1].breaks = Instant{} + Duration::from_ms(120);
  REQUIRE(w.run());
  CHECK(w.all_right());
  CHECK(w.plan.sources()[1].lost);
  CHECK(w.at.ns < 1'500'000'000);
}

TEST_CASE("a stopped source costs a bounded delay") {
  World w(3, 1000);
  for (auto& s : w.sources) s.speed = 100e6;
  w.sources[2].stops = Instant{} + Duration::from_ms(120);
  REQUIRE(w.run());
  CHECK(w.all_right());
  CHECK(w.at.ns < 2'500'000'000);
}

TEST_CASE("a source a hundred times slower than the others does not decide when the transfer ends") {
  World w(3, 1000);
  for (auto& s : w.sources) s.speed = 100e6;
  w.sources[0].speed = 1e6;
  REQUIRE(w.run());
  CHECK(w.all_right());
  CHECK(w.at.ns < 3'000'000'000);
}

TEST_CASE("a source that gives wrong bytes is found out by the others and dropped; nothing of it stays") {
  const int first = GENERATE(0, 1, 2);
  World w(3, 500);
  for (auto& s : w.sources) s.speed = 100e6;
  w.sources[static_cast<std::size_t>(first)].lies = [](std::uint32_t stripe) { return stripe > 100 && stripe % 7 == 0; };
  REQUIRE(w.run());
  CHECK(w.all_right());
  CHECK(w.plan.sources()[static_cast<std::size_t>(first)].lost);
  for (int i = 0; i < 3; ++i)
    if (i != first) CHECK_FALSE(w.plan.sources()[static_cast<std::size_t>(i)].lost);
}

TEST_CASE("a wrong digest drops its teller, not who gave the bytes") {
  World w(3, 500);
  w.sources[1].wrong_digest = [](std::uint32_t stripe) { return stripe == 33; };
  REQUIRE(w.run());
  CHECK(w.all_right());
  CHECK(w.plan.sources()[1].lost);
  CHECK_FALSE(w.plan.sources()[0].lost);
  CHECK_FALSE(w.plan.sources()[2].lost);
}

TEST_CASE("a source that differs from two others in different stripes is dropped, where nobody has a third opinion") {
  World w(3, 300);
  for (std::uint32_t i = 0; i < 3; ++i) {
    w.sources[i].speed = 100e6;
    w.sources[i].lacks = [i](std::uint32_t stripe) { return stripe % 3 != i && (stripe + 1) % 3 != i; };  // all of it changes at once
  }
  w.sources[1].lies = w.sources[1].wrong_digest = [](std::uint32_t) { return true; };
  REQUIRE(w.run());
  CHECK(w.plan.sources()[1].lied);
  CHECK_FALSE(w.plan.sources()[0].lied);
  CHECK_FALSE(w.plan.sources()[2].lied);
  CHECK(w.plan.stuck());  // what it alone had: without it, as of a newer mark
}

TEST_CASE("two sources that differ are not decided by chance") {
  World w(2, 100);
  w.sources[1].lies = [](std::uint32_t stripe) { return stripe == 51; };
  REQUIRE(w.run());
  CHECK_FALSE(w.plan.done());
  REQUIRE(w.plan.stuck());
  CHECK_THAT(*w.plan.stuck(), Catch::Contains("stripe 51"));
}

TEST_CASE("what one source no longer has comes from another; what nobody has is told") {
  World some(3, 300);
  some.sources[0].lacks = [](std::uint32_t) { return true; };
  REQUIRE(some.run());
  CHECK(some.all_right());
  CHECK(some.plan.sources()[0].bytes == 0);
  World none(2, 300);
  none.sources[0].lacks = none.sources[1].lacks = [](std::uint32_t stripe) { return stripe == 17; };
  REQUIRE(none.run());
  REQUIRE(none.plan.stuck());
  CHECK_THAT(*none.plan.stuck(), Catch::Contains("stripe 17"));
}

TEST_CASE("with all sources lost the plan says so") {
  World w(2, 5000);
  for (auto& s : w.sources) s.speed = 10e6, s.breaks = Instant{} + Duration::from_ms(50);
  REQUIRE(w.run());
  REQUIRE(w.plan.stuck());
  CHECK_THAT(*w.plan.stuck(), Catch::Contains("connection ended"));
}

TEST_CASE("of what is held as of an older mark only what has changed is moved again, whatever becomes of the witnesses") {
  const int sources = GENERATE(1, 2, 3), lost = GENERATE(0, 1);
  World w(static_cast<std::uint32_t>(sources), 600);
  for (auto& s : w.sources) s.speed = 100e6;
  if (lost == 1 && sources == 3) w.sources[1].breaks = Instant{} + Duration::from_ms(1);
  if (lost == 1 && sources == 2) w.sources[1].lacks = [](std::uint32_t) { return true; };
  for (std::uint32_t i = 0; i < 500; ++i) {
    const bool changed = i % 10 == 0;
    w.plan.known(i, World::right(i) + (changed ? 77 : 0));
    w.held[i] = World::right(i) + (changed ? 77 : 0);
  }
  REQUIRE(w.run());
  CHECK(w.all_right());
  std::uint64_t moved = 0;
  for (const auto& s : w.plan.sources()) moved += s.bytes;
  CHECK(moved == 150ull * kStripe);
  CHECK(w.plan.bytes_kept() == 450ull * kStripe);
  CHECK(w.plan.digest_of(7) == World::right(7));
}

TEST_CASE("what is held as of an older mark is not believed where nobody can say that it stands") {
  World w(2, 100);
  for (auto& s : w.sources) s.lacks = [](std::uint32_t stripe) { return stripe == 5; };
  for (std::uint32_t i = 0; i < 100; ++i) w.plan.known(i, World::right(i));
  REQUIRE(w.run());
  CHECK_FALSE(w.plan.done());
  REQUIRE(w.plan.stuck());
}

TEST_CASE("a source that lies about what is held as of an older mark costs a stripe, not the state") {
  World w(3, 300);
  w.sources[2].wrong_digest = [](std::uint32_t) { return true; };
  for (std::uint32_t i = 0; i < 300; ++i) w.plan.known(i, World::right(i)), w.held[i] = World::right(i);
  REQUIRE(w.run());
  CHECK(w.all_right());
  CHECK(w.plan.sources()[2].lost);
}

TEST_CASE("what one source alone was believed about counts for nothing the next time") {
  World w(2, 100);
  w.sources[1].lies = w.sources[1].wrong_digest = [](std::uint32_t) { return true; };
  w.sources[0].breaks = Instant{} + Duration::from_ms(1);
  w.sources[0].speed = w.sources[1].speed = 10e6;
  REQUIRE(w.run());
  REQUIRE(w.plan.done());
  for (std::uint32_t i = 0; i < 100; ++i) CHECK_FALSE(w.plan.digest_of(i));
  World one(1, 10);
  REQUIRE(one.run());
  CHECK(one.plan.digest_of(3));
}

#include <catch2/catch.hpp>

#include "base/clock.h"
#include "base/rng.h"
#include "ft/driver/client.h"
#include "tests/ft_driver/world.h"

using namespace regroup;
using namespace regroup::test;

TEST_CASE("three members form the first view, in the order of their ids") {
  World w;
  w.form();
  for (std::size_t i = 0; i < 3; ++i) {
    const Decision d = w[i].data.state().decision;
    CHECK(d.view.log == w.coordinator->server().log_id());
    REQUIRE(d.view.members.size() == 3);
    for (std::uint32_t k = 0; k < 3; ++k) CHECK(d.view.members[k].id.replica == k);
    CHECK(d.plane == PlaneKind::kShared);
    CHECK(w[i].control->trouble().empty());
  }
}

TEST_CASE("no view is made before all members of the world wait in the library") {
  World w;
  w.start_coordinator();
  for (std::uint32_t i = 0; i < 3; ++i) w.add(i);
  w[0].control->post(Parked{});
  w[1].control->post(Parked{});
  CHECK(!w[0].data.wait([](auto& s) { return s.decision.view.epoch != 0; }, Duration::from_ms(200)));
  w[2].control->post(Parked{});
  CHECK(w.wait_view({0, 1, 2}, 1, 3));
}

TEST_CASE("kill by detach: the others have a view without it long before a heartbeat is missed") {
  World w;
  w.form();
  const Instant begin = now();
  w[1].control->stop(true);
  w[0].control->check_peers();
  REQUIRE(w.wait_view({0, 2}, 2, 2));
  const Duration took = now() - begin;
  INFO("took " << took.ms() << " ms");
  CHECK(took < Duration::from_ms(500));  // the suspicion time is 1000: it was the word that told
  CHECK(w[0].control->counters().deaths_seen + w[2].control->counters().deaths_seen >= 1);
  CHECK(w[0].data.state().decision.reason == "dead:1");
}

TEST_CASE("more than half of the members die at once, and the last one goes on") {
  World w;
  w.form();
  w[0].control->stop(true);
  w[1].control->stop(true);
  REQUIRE(w[2].data.wait([](auto& s) { return s.decision.view.members.size() == 1; }));
}

TEST_CASE("a member that falls silent is suspected in about a second, and is told when it wakes") {
  World w;
  w.form();
  const Instant begin = now();
  w[2].control->pause_for_test(true);
  REQUIRE(w.wait_view({0, 1}, 2, 2));
  const Duration took = now() - begin;
  INFO("took " << took.ms() << " ms");
  CHECK(took > Duration::from_ms(700));
  CHECK(took < Duration::from_ms(2500));
  CHECK(w[0].control->counters().deaths_seen == 0);  // silence is not death
  const int installs = static_cast<int>(w[2].data.state().installs.size());
  w[2].control->pause_for_test(false);
  REQUIRE(w[2].data.wait([](auto& s) { return s.ended == Code::kEvicted; }));
  CHECK(static_cast<int>(w[2].data.state().installs.size()) == installs);  // a zombie installs nothing
  CHECK(w[0].data.state().decision.view.epoch == 2);
}

TEST_CASE("an evicted member comes back as a new incarnation, level before it is in a view") {
  World w;
  w.form();
  w[1].control->pause_for_test(true);
  REQUIRE(w.wait_view({0, 2}, 2, 2));
  w[1].control->pause_for_test(false);
  REQUIRE(w[1].data.wait([](auto& s) { return s.ended.has_value(); }));
  w[1].data.forget_end();
  const MemberConfig fresh = w.config(1);
  w[1].control->restart(fresh);
  w[1].control->post(Parked{});
  REQUIRE(w.wait_view({0, 1, 2}, 3, 3));
  CHECK(w[1].data.state().fetches == 1);
  CHECK(w[0].data.state().decision.view.members[1].inc == fresh.self.inc);
  // Its new page is watched as the old one was.
  w[1].control->stop(true);
  CHECK(w.wait_view({0, 2}, 4, 2, Duration::from_ms(800)));
}

TEST_CASE("a member that leaves is told that it is closed, and costs nobody an eviction") {
  World w;
  w.form();
  w[1].control->post(LeaveWanted{});
  REQUIRE(w[1].data.wait([](auto& s) { return s.ended == Code::kClosed; }));
  REQUIRE(w.wait_view({0, 2}, 2, 2));
  CHECK(w[0].data.state().decision.planned);
  w[1].control->stop(false);
  CHECK(!w[0].data.wait([](auto& s) { return s.decision.view.epoch > 2; }, Duration::from_ms(150)));
}

TEST_CASE("a member that does not answer the wedge is dropped at the deadline") {
  World w;
  w.coordinator_options.wedge_deadline = Duration::from_ms(300);
  w.form();
  w[2].data.set_answers(false);
  w[1].control->stop(true);
  REQUIRE(w.wait_view({0}, 2, 1));
  CHECK(w[2].data.wait([](auto& s) { return s.ended == Code::kEvicted; }));
}

TEST_CASE("two incarnations of one member: the second waits while the first lives, then takes its place") {
  World w;
  w.form();
  TestMember& twin = w.add(1);
  twin.control->post(Parked{});
  CHECK(!twin.data.wait([](auto& s) { return s.decision.view.epoch != 0; }, Duration::from_ms(200)));
  CHECK(!twin.data.state().ended);
  w[1].control->stop(true);
  REQUIRE(twin.data.wait([](auto& s) { return s.decision.view.members.size() == 3; }));
}

TEST_CASE("a launcher's report of a death evicts the member at once") {
  World w;
  w.control_options.tick = Duration::from_s(5);  // the members themselves look too rarely to see it
  w.control_options.heartbeat = Duration::from_ms(50);
  w.coordinator_options.suspicion = Duration::from_s(30);
  w.coordinator_options.lost_grace = Duration::from_s(20);
  w.form();
  const CoordinatorAddress to{w.control_options.coordinator, w.control_options.group, ""};
  CHECK(report_death(to, random_incarnation(), Duration::from_s(2)).ok());  // nobody's: nothing happens
  CHECK(report_death(to, w[1].config.self.inc, Duration::from_s(2)).ok());
  CHECK(w.wait_view({0, 2}, 2, 2, Duration::from_s(3)));
  CHECK(w[0].data.state().decision.reason == "dead:1");
}

// The coordinator: formation, and view changes that failures force.
#include <catch2/catch.hpp>

#include "tests/ft_core/script.h"

namespace regroup::test {
namespace {

const Incarnation k1 = inc(1), k2 = inc(2), k3 = inc(3);

TEST_CASE("coordinator: founds the first view when the whole world is ready, and tells nobody before it is durable") {
  Script s;
  s.observer(k1), s.observer(k3);
  CHECK_FALSE(s.unlogged());
  s.connect(k2);  // connected, but its user does not wait yet
  CHECK_FALSE(s.unlogged());
  s.say(k2, Ready{});
  REQUIRE(s.unlogged());
  CHECK_FALSE(s.got<Install>(k1));
  s.write_log();
  CHECK(s.members() == Incs{k1, k2, k3});
  CHECK(s.decision().joined.size() == 3);
  CHECK(s.got<Install>(k1)->decision == s.decision());
  CHECK(s.got<Install>(k3)->decision == s.decision());
}

TEST_CASE("coordinator: a killed member is evicted; trim is the least that a survivor has prepared") {
  Script s;
  s.form();
  s.dead(k3, k1);
  CHECK(s.got<Wedge>(k1));
  CHECK(s.got<Wedge>(k2));
  CHECK_FALSE(s.got<Wedge>(k3));
  s.report(k1, 5, 4, 6);
  CHECK_FALSE(s.unlogged());
  s.report(k2, 4, 4, 5);
  REQUIRE(s.unlogged());
  CHECK(s.unlogged()->trim == 4);
  CHECK(s.unlogged()->high == 6);
  CHECK(s.unlogged()->prev == 1);
  CHECK_FALSE(s.unlogged()->planned);
  s.write_log();
  CHECK(s.members() == Incs{k1, k2});
  CHECK(s.got<Install>(k1)->decision.view.epoch == 2);
  CHECK_FALSE(s.got<Install>(k3)->decision.view.contains(k3));  // tells a living one that it is out
}

TEST_CASE("coordinator: a closed connection is a suspicion after a short grace, unless the member is back by then") {
  Script s;
  s.form();
  s.lost(k3);
  SECTION("not back") {
    s.pass(60, {k1, k2});
    CHECK(s.phase() == Phase::kWedging);
  }
  SECTION("back") {
    s.connect(k3, 1);
    s.pass(500, {k1, k2, k3});
    CHECK(s.phase() == Phase::kIdle);
  }
}

TEST_CASE("coordinator: a silent member is evicted after the suspicion time (asymmetric partition, pause)") {
  Script s;
  s.form();
  s.pass(980, {k1, k2});
  CHECK(s.phase() == Phase::kIdle);
  s.pass(40, {k1, k2});
  CHECK(s.phase() == Phase::kWedging);
}

TEST_CASE("coordinator: two failures at once, more than half of the members: one change evicts both") {
  Script s;
  s.form();
  s.dead(k1, k2);
  s.dead(k3, k2);
  s.report(k2, 1, 0, 1);
  s.write_log();
  CHECK(s.members() == Incs{k2});
  CHECK(s.decision().trim == 1);
}

TEST_CASE("coordinator: a view change during a view change: the candidate that died is left out of trim") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.report(k2, 1, 1, 2);  // reports, then dies
  s.dead(k2, k1);
  s.report(k1, 2, 1, 2);
  s.write_log();
  CHECK(s.members() == Incs{k1});
  CHECK(s.decision().trim == 2);
}

TEST_CASE("coordinator: a candidate that stays silent is dropped at the deadline") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.report(k1, 2, 2, 2);
  s.pass(980, {k1, k2});  // beats, but does not report
  CHECK_FALSE(s.unlogged());
  s.pass(40, {k1, k2});
  REQUIRE(s.unlogged());
  CHECK(Script::members_of(*s.unlogged()) == Incs{k1});
}

TEST_CASE("coordinator: a member that dies while the decision is written is evicted by the next one") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.all_report({k1, k2}, 4);
  s.dead(k2, k1);
  s.write_log();
  CHECK(s.members() == Incs{k1, k2});
  CHECK(s.phase() == Phase::kWedging);
  CHECK(s.got<Wedge>(k1)->made.view.epoch == 2);
  s.report(k1, 4, 4, 4);
  s.write_log();
  CHECK(s.members() == Incs{k1});
}

TEST_CASE("coordinator: a report of another epoch, or one that contradicts itself, counts for nothing") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.report(k1, 3, 3, 3);
  s.report(k1, 9, 9, 9);  // the first report stands
  s.say(k2, Wedged{1, Report{0, 3, 3, 3}});
  s.say(k2, Wedged{1, Report{1, 3, 3, 2}});
  s.say(k3, Wedged{1, Report{7, 3, 3, 3}});
  CHECK_FALSE(s.unlogged());
  s.report(k2, 4, 4, 4);
  CHECK(s.unlogged()->trim == 3);
}

TEST_CASE(
    "coordinator: with all members lost nothing is decided; whoever comes back gives the others a suspicion time") {
  Script s;
  s.form();
  s.pass(1500);  // nobody is heard of
  CHECK(s.phase() == Phase::kIdle);
  CHECK_FALSE(s.unlogged());
  s.observer(inc(4));  // an observer may not know the end of history
  s.pass(1500, {inc(4)});
  CHECK_FALSE(s.unlogged());
  s.connect(k2, 1);
  SECTION("all come back: nothing was lost") {
    s.connect(k1, 1), s.connect(k3, 1);
    s.lost(inc(4));
    s.pass(3000, {k1, k2, k3});
    CHECK(s.epoch() == 1);
    CHECK(s.coordinator().suspected().empty());
  }
  SECTION("one stays away and is evicted") {
    s.connect(k1, 1);
    s.pass(1100, {k1, k2});
    s.all_report({k1, k2}, 3);
    CHECK(Script::members_of(s.unlogged().value()) == Incs{k1, k2});
  }
}

TEST_CASE("coordinator: all members lost after some were wedged: the change is finished when one is back") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.report(k1, 2, 2, 2);
  s.pass(1500);  // k1 has reported, but neither it nor k2 is heard of again
  CHECK_FALSE(s.unlogged());
  s.say(k1, Heartbeat{1, 2});
  CHECK(s.phase() == Phase::kWedging);
  s.pass(1100, {k1});
  REQUIRE(s.unlogged());
  CHECK(Script::members_of(*s.unlogged()) == Incs{k1});
}

TEST_CASE("coordinator: an evicted member that asks learns it, and its late words change nothing") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.all_report({k1, k2}, 2);
  s.write_log();
  s.forget();
  s.report(k3, 9, 9, 9);
  s.dead(k1, k3);
  CHECK(s.phase() == Phase::kIdle);
  s.connect(k3, 1);
  CHECK(s.got<Evicted>(k3)->epoch == 2);
}

TEST_CASE("coordinator: a member that was suspected and is back before its eviction is durable is out nevertheless") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.all_report({k1, k2}, 2);
  s.connect(k3, 1);
  s.write_log();
  CHECK(s.members() == Incs{k1, k2});
  CHECK_FALSE(s.got<Install>(k3)->decision.view.contains(k3));
}

}  // namespace
}  // namespace regroup::test

// The coordinator: planned changes, which are joins and leaves, cut at a mark.
#include <catch2/catch.hpp>

#include "tests/ft_core/script.h"

namespace regroup::test {
namespace {

const Incarnation k1 = inc(1), k2 = inc(2), k3 = inc(3), k4 = inc(4), k5 = inc(5);
const Incs kAll{k1, k2, k3};

// Members 1..3 are in view 1, observer 4 is ready, op 2 is the mark; up to the point where 4 fetches.
struct Joining : Script {
  Joining() {
    form();
    observer(k4);
  }
  void cut(OpId op = 2) { say(k1, CutDone{epoch(), got<Notice>(k1)->plan, op}); }
  void levelling(OpId op = 2) {
    cut(op);
    all_report(kAll, op);
  }
  void level(const Incarnation& who, bool ok = true) {
    say(who, Level{got<Fetch>(who)->plan, got<Fetch>(who)->op, ok});
  }
};

TEST_CASE("join: notice, cut at a mark, wedge, level, install") {
  Joining s;
  CHECK(s.phase() == Phase::kCutting);
  for (const Incarnation& m : kAll) CHECK(s.got<Notice>(m)->epoch == 1);
  CHECK_FALSE(s.got<Wedge>(k1));
  s.cut();
  CHECK(s.got<Wedge>(k3));
  s.report(k1, 2, 2, 2), s.report(k2, 3, 2, 3), s.report(k3, 3, 1, 3);
  REQUIRE(s.phase() == Phase::kLevelling);
  CHECK(s.got<Fetch>(k4)->op == 2);
  CHECK(s.got<Fetch>(k4)->source.inc != k3);  // it has not committed the mark
  CHECK_FALSE(s.unlogged());
  s.level(k4);
  s.write_log();
  CHECK(s.members() == Incs{k1, k2, k3, k4});
  CHECK(s.decision().joined == Incs{k4});
  CHECK(s.decision().trim == 2);
  CHECK(s.decision().planned);
  CHECK(s.got<Install>(k4)->decision == s.decision());
}

TEST_CASE(
    "join: who was frozen before it knew that the op at the mark had failed does not pull the cut back into a step") {
  Joining s;
  s.cut(2);
  s.report(k1, 2, 2, 2), s.report(k2, 1, 1, 2), s.report(k3, 2, 2, 2);
  REQUIRE(s.unlogged());  // an ordinary change: trim ends no step
  CHECK(s.unlogged()->trim == 1);
  CHECK_FALSE(s.unlogged()->planned);
  CHECK(s.unlogged()->joined.empty());
  s.write_log();
  CHECK(s.phase() == Phase::kIdle);  // it gets a moment to settle the op, else the cut would fall short again
  s.pass(100, kAll);
  CHECK(s.phase() == Phase::kCutting);  // and the join begins again
}

TEST_CASE("join: who has settled a failed op behind the mark does not serve the state") {
  Joining s;
  s.cut(2);
  s.report(k1, 3, 3, 3), s.report(k2, 2, 2, 3), s.report(k3, 2, 1, 3);  // 3 was failed by a decision; k2 has cut before it
  REQUIRE(s.phase() == Phase::kLevelling);
  CHECK(s.got<Fetch>(k4)->op == 2);
  CHECK(s.got<Fetch>(k4)->source.inc == k2);
}

TEST_CASE("join and death in one batch: the death is decided first, the join begins again") {
  Joining s;
  SECTION("before the cut") {
    s.dead(k3, k1);
    s.all_report({k1, k2}, 1);
  }
  SECTION("between cut and reports") {
    s.cut();
    s.dead(k3, k1);
    s.all_report({k1, k2}, 1);
  }
  SECTION("while the joiner levels") {
    s.levelling();
    s.dead(k3, k1);
  }
  REQUIRE(s.unlogged());
  CHECK(Script::members_of(*s.unlogged()) == Incs{k1, k2});
  CHECK_FALSE(s.unlogged()->planned);
  s.forget();
  s.write_log();
  CHECK(s.phase() == Phase::kCutting);
  CHECK(s.got<Notice>(k1)->epoch == 2);
}

TEST_CASE("joiner dies while levelling: the members go on without it") {
  Joining s;
  s.levelling();
  s.lost(k4);
  REQUIRE(s.unlogged());
  CHECK(Script::members_of(*s.unlogged()) == kAll);
  s.write_log();
  CHECK(s.phase() == Phase::kIdle);
}

TEST_CASE("joiner dies before the cut: members that have cut are taken on nevertheless") {
  Joining s;
  const std::uint64_t plan = s.got<Notice>(k1)->plan;
  s.lost(k4);
  s.say(k1, CutDone{1, plan, 2});
  s.all_report(kAll, 2);
  s.write_log();
  CHECK(s.members() == kAll);
  CHECK(s.epoch() == 2);
}

TEST_CASE("joiner dies while its join is written: it is a member that never came, and is evicted") {
  Joining s;
  s.levelling();
  s.level(k4);
  s.lost(k4);
  s.write_log();
  CHECK(s.members().size() == 4);
  s.pass(1100, kAll);
  s.all_report(kAll, 2);
  s.write_log();
  CHECK(s.members() == kAll);
}

TEST_CASE("source dies while levelling: it is evicted, and another source serves the next attempt") {
  Joining s;
  s.levelling();
  const Incarnation source = s.got<Fetch>(k4)->source.inc;
  Incs rest = kAll;
  std::erase(rest, source);
  s.dead(source, rest.front());
  s.forget();
  s.write_log();
  CHECK(s.members() == rest);
  s.say(rest.front(), CutDone{2, s.got<Notice>(rest.front())->plan, 2});
  s.all_report(rest, 2);
  REQUIRE(s.got<Fetch>(k4));
  CHECK(s.got<Fetch>(k4)->source.inc != source);
  s.level(k4);
  s.write_log();
  CHECK(s.members().size() == 3);
}

TEST_CASE("the only member dies while a joiner levels: nothing is decided, no empty view is made") {
  Script s(1);
  s.form();
  s.observer(k4);
  s.say(k1, CutDone{1, s.got<Notice>(k1)->plan, 2});
  s.report(k1, 2, 2, 2);
  REQUIRE(s.phase() == Phase::kLevelling);
  s.lost(k1);
  s.pass(200, {k4});
  CHECK_FALSE(s.unlogged());
  CHECK(s.phase() == Phase::kIdle);
  s.connect(k1, 1, true);  // it was only cut off
  s.report(k1, 2, 2, 2);
  s.write_log();
  CHECK(s.members() == Incs{k1});
}

TEST_CASE("a joiner that cannot level stays an observer until it says that it is ready again") {
  Joining s;
  s.levelling();
  s.level(k4, false);
  s.write_log();
  CHECK(s.members() == kAll);
  CHECK(s.phase() == Phase::kIdle);
  s.pass(300, kAll);
  CHECK(s.phase() == Phase::kIdle);
  s.say(k4, Ready{});
  CHECK(s.phase() == Phase::kCutting);
}

TEST_CASE("an observer that catches up is told the view, and disturbs nobody before it is level") {
  Script s;
  s.form();
  s.follower(k4, Readiness::kFounder);
  CHECK(s.phase() == Phase::kIdle);
  CHECK(s.got<Welcome>(k4)->epoch == 1);
  CHECK(s.got<Welcome>(k4)->members.size() == 3);
  CHECK(s.got<Welcome>(k1)->members.empty());
  s.pass(5'000, {k1, k2, k3, k4});
  CHECK(s.phase() == Phase::kIdle);
  s.say(k4, Ready{Readiness::kLevel, 1});
  CHECK(s.phase() == Phase::kCutting);
  s.say(k4, Ready{Readiness::kFounder, 2});  // fell behind meanwhile: the cut is finished without it
  s.say(k1, CutDone{s.epoch(), s.got<Notice>(k1)->plan, 2});
  s.all_report(kAll, 2);
  s.write_log();
  CHECK(s.members() == kAll);
  CHECK(s.got<Welcome>(k4)->epoch == 2);  // told of every view
}

TEST_CASE("who has caught up is waited for no longer than for a report, and must catch up again if that was not enough") {
  Script s;
  s.form();
  s.follower(k4, Readiness::kLevel);
  REQUIRE(s.phase() == Phase::kCutting);
  s.say(k1, CutDone{s.epoch(), s.got<Notice>(k1)->plan, 2});
  s.all_report(kAll, 2);
  REQUIRE(s.phase() == Phase::kLevelling);
  s.pass(1'100, {k1, k2, k3, k4});
  s.write_log();
  CHECK(s.members() == kAll);
}

TEST_CASE("an observer that says it must catch up first is not waited for") {
  Script s;
  s.form();
  s.follower(k4, Readiness::kLevel);
  s.say(k1, CutDone{s.epoch(), s.got<Notice>(k1)->plan, 2});
  s.all_report(kAll, 2);
  REQUIRE(s.phase() == Phase::kLevelling);
  SECTION("by word") { s.say(k4, Ready{Readiness::kFounder, 2}); }
  SECTION("on a new connection") { s.follower(k4, Readiness::kFounder); }
  s.write_log();
  CHECK(s.members() == kAll);
}

TEST_CASE("a hello that comes again, late, does not take back what its sender has said since") {
  Script s;
  s.form();
  s.follower(k4, Readiness::kFounder);
  s.say(k1, AskChange{s.epoch(), false, "asked"});  // the join has to wait
  s.say(k4, Ready{Readiness::kLevel, 1});
  s.follower(k4, Readiness::kFounder);
  s.all_report(kAll, 2);
  s.write_log();
  s.pass(5'000, {k1, k2, k3, k4});
  CHECK(s.phase() == Phase::kCutting);
}

TEST_CASE("a readiness that comes again, late, does not take back what its sender has said since") {
  Script s;
  s.form();
  s.follower(k4, Readiness::kFounder);
  s.say(k1, AskChange{s.epoch(), false, "asked"});  // the join has to wait
  s.say(k4, Ready{Readiness::kLevel, 2});
  s.say(k4, Ready{Readiness::kFounder, 1});
  s.all_report(kAll, 2);
  s.write_log();
  s.pass(5'000, {k1, k2, k3, k4});
  CHECK(s.phase() == Phase::kCutting);
}

TEST_CASE("members that were held for a joiner in vain go on for longer than that before they are held again") {
  Joining s;
  s.levelling();
  s.pass(2'000, {k1, k2, k3, k4});  // its network ate the connect
  s.level(k4, false);
  s.say(k4, Ready{});  // at once: it can reach the coordinator, and nobody else
  s.write_log();
  CHECK(s.members() == kAll);
  CHECK(s.phase() == Phase::kIdle);
  s.pass(5'900, {k1, k2, k3, k4});
  CHECK(s.phase() == Phase::kIdle);
  s.pass(200, {k1, k2, k3, k4});
  CHECK(s.phase() == Phase::kCutting);
}

TEST_CASE("a joiner that is level too late is tried again") {
  Joining s;
  s.levelling();
  s.pass(30'100, {k1, k2, k3, k4});
  s.write_log();
  CHECK(s.members() == kAll);
  CHECK(s.phase() == Phase::kIdle);
  s.level(k4);
  CHECK(s.phase() == Phase::kCutting);
}

TEST_CASE("a joiner that reconnects while it levels is asked again") {
  Joining s;
  s.levelling();
  const Fetch first = s.got<Fetch>(k4).value();
  s.forget();
  s.observer(k4);  // its old connection was not seen to close
  CHECK(s.got<Fetch>(k4) == first);
}

TEST_CASE("leave: a planned change takes the leaver out at the mark") {
  Script s;
  s.form();
  s.say(k2, Leave{});
  s.say(k1, CutDone{1, s.got<Notice>(k1)->plan, 4});
  s.all_report(kAll, 4);
  s.write_log();
  CHECK(s.members() == Incs{k1, k3});
  CHECK(s.decision().planned);
  CHECK_FALSE(s.got<Install>(k2)->decision.view.contains(k2));
}

TEST_CASE("all leave: the group ends with an empty view, and a new world may be founded behind it") {
  Script s;
  s.form();
  for (const Incarnation& m : kAll) s.say(m, Leave{});
  s.say(k1, CutDone{1, s.got<Notice>(k1)->plan, 4});
  s.report(k1, 4, 4, 6), s.report(k2, 4, 4, 4), s.report(k3, 4, 4, 4);
  s.write_log();
  CHECK(s.members().empty());
  for (std::uint32_t m = 1; m <= 3; ++m) s.observer(inc(m, 2));
  s.write_log();
  CHECK(s.epoch() == 3);
  CHECK(s.decision().trim == 6);  // op 5 and 6 may have failed at somebody: their numbers are not given again
  CHECK(s.decision().high == 6);  // nothing of the old world fails an op of the new one
  CHECK(s.decision().joined.size() == 3);
}

TEST_CASE("all leave in front of an op that a decision failed: who founds the group anew does not give its number again") {
  Script s;
  s.form();
  s.say(k3, FailOp{1, {9, Code::kCancelled, {}, {}}});  // nobody else has submitted it
  s.dead(k3, k1);
  s.report(k1, 4, 4, 5), s.report(k2, 4, 4, 4);
  s.write_log();
  REQUIRE(s.decision().failure_of(9));
  s.say(k1, Leave{}), s.say(k2, Leave{});
  s.say(k1, CutDone{2, s.got<Notice>(k1)->plan, 6});
  s.report(k1, 6, 6, 6), s.report(k2, 6, 6, 6);
  s.write_log();
  REQUIRE(s.members().empty());
  REQUIRE(s.decision().trim == 6);
  for (std::uint32_t m = 1; m <= 3; ++m) s.observer(inc(m, 2));
  s.write_log();
  CHECK(s.decision().trim == 9);
  CHECK(s.decision().failed.empty());
}
TEST_CASE("all leave while one enters who holds their state: the group goes on, it is not founded anew") {
  Joining s;
  for (const Incarnation& m : kAll) s.say(m, Leave{});
  s.levelling();
  s.level(k4);
  s.write_log();
  CHECK(s.members() == Incs{k4});
  CHECK(s.decision().trim == 2);
  CHECK_FALSE(s.decision().founds());  // no step is numbered anew, and nobody begins without the state as of 2
}

TEST_CASE("one joins while another leaves, in one change") {
  Joining s;
  s.say(k2, Leave{});
  s.levelling();
  CHECK(s.got<Fetch>(k4)->source.inc != k2);  // a source that stays is preferred
  s.level(k4);
  s.write_log();
  CHECK(s.members() == Incs{k1, k3, k4});
}

TEST_CASE("two incarnations of one member at once: the newer waits until the older is out") {
  Script s;
  s.form();
  const Incarnation again = inc(3, 2);
  s.observer(again);
  CHECK(s.phase() == Phase::kIdle);
  s.pass(1100, {k1, k2, again});
  CHECK(s.phase() == Phase::kWedging);
  s.all_report({k1, k2}, 2);
  s.write_log();
  CHECK(s.members() == Incs{k1, k2});
  CHECK(s.phase() == Phase::kCutting);
}

TEST_CASE("flapping member: one incarnation of it is promoted, the others wait") {
  Joining s;
  s.observer(inc(4, 2));
  s.pass(30'100, {k1, k2, k3, k4});
  s.levelling();
  CHECK(s.got<Fetch>(k4).has_value() != s.got<Fetch>(inc(4, 2)).has_value());
}

TEST_CASE("two joiners are promoted by one change; the one that fails holds up nobody") {
  Joining s;
  s.observer(k5);
  s.levelling();
  s.level(k4);
  CHECK_FALSE(s.unlogged());
  s.level(k5, false);
  s.write_log();
  CHECK(s.members() == Incs{k1, k2, k3, k4});
}

TEST_CASE("a joiner that failed and is ready again while another still levels is promoted by the next change") {
  Joining s;
  s.observer(k5);
  s.levelling();
  s.level(k5, false);
  s.say(k5, Ready{});
  s.level(k4);
  s.write_log();
  CHECK(s.members() == Incs{k1, k2, k3, k4});
  CHECK(s.phase() == Phase::kCutting);
}

}  // namespace
}  // namespace regroup::test

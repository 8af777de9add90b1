// The coordinator: what its own death may and may not lose.
#include <catch2/catch.hpp>

#include "tests/ft_core/script.h"

namespace regroup::test {
namespace {

const Incarnation k1 = inc(1), k2 = inc(2), k3 = inc(3), k4 = inc(4);

TEST_CASE("coordinator dies between decide and install: the durable decision is installed by the next one") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.all_report({k1, k2}, 2);
  s.write_log();
  s.restart();
  CHECK(s.epoch() == 2);
  s.connect(k1, 1, true);
  CHECK(s.got<Install>(k1)->decision.view.epoch == 2);
  s.connect(k3, 1);
  CHECK(s.got<Evicted>(k3)->epoch == 2);
  CHECK(s.phase() == Phase::kIdle);
}

TEST_CASE("coordinator dies between wedge and decide: a wedge is never taken back, so the next one finishes it") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.report(k1, 2, 1, 2);
  s.restart();
  s.connect(k1, 1, true);
  CHECK(s.phase() == Phase::kWedging);
  s.report(k1, 2, 1, 2);
  s.connect(k2, 1);
  CHECK(s.got<Wedge>(k2));
  s.report(k2, 1, 1, 2);
  s.pass(1100, {k1, k2});  // k3 does not come back
  s.write_log();
  CHECK(s.members() == Incs{k1, k2});
  CHECK(s.decision().trim == 1);
}

TEST_CASE("coordinator dies before its decision is durable: the epoch is decided once, from the same reports") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.all_report({k1, k2}, 2);
  REQUIRE(s.unlogged());
  s.restart();  // nothing was written
  CHECK(s.epoch() == 1);
  for (const Incarnation& m : Incs{k1, k2}) s.connect(m, 1, true), s.report(m, 2, 2, 2);
  s.connect(k3, 1);  // and this time the suspected one is here
  s.report(k3, 1, 1, 2);
  s.write_log();
  CHECK(s.epoch() == 2);
  CHECK(s.members() == Incs{k1, k2, k3});
  CHECK(s.decision().trim == 1);
}

TEST_CASE("coordinator: after a restart every member has one suspicion time to come back") {
  Script s;
  s.form();
  s.restart();
  s.connect(k1, 1), s.connect(k2, 1);
  s.pass(900, {k1, k2});
  CHECK(s.phase() == Phase::kIdle);
  SECTION("it comes") {
    s.connect(k3, 1);
    s.pass(900, {k1, k2, k3});
    CHECK(s.phase() == Phase::kIdle);
  }
  SECTION("it does not") {
    s.pass(200, {k1, k2});
    CHECK(s.phase() == Phase::kWedging);
  }
}

TEST_CASE("coordinator: members that have cut are taken on after a restart, though the joiner is gone") {
  Script s;
  s.form();
  s.observer(k4);
  const std::uint64_t plan = s.got<Notice>(k1)->plan;
  s.restart();
  for (const Incarnation& m : Incs{k1, k2, k3}) s.connect(m, 1);
  s.say(k1, CutDone{1, plan, 2});
  CHECK(s.phase() == Phase::kWedging);
  s.all_report({k1, k2, k3}, 2);
  s.write_log();
  CHECK(s.members() == Incs{k1, k2, k3});
}

TEST_CASE("coordinator dies while a joiner levels: the wedged members go on, then the join begins again") {
  Script s;
  s.form();
  s.observer(k4);
  s.say(k1, CutDone{1, s.got<Notice>(k1)->plan, 2});
  s.all_report({k1, k2, k3}, 2);
  const Fetch old = s.got<Fetch>(k4).value();
  s.restart();
  s.observer(k4);
  s.say(k4, Level{old.plan, old.op, true});  // for the dead coordinator
  for (const Incarnation& m : Incs{k1, k2, k3}) s.connect(m, 1, true), s.report(m, 2, 2, 2);
  s.write_log();
  CHECK(s.members() == Incs{k1, k2, k3});
  CHECK(s.phase() == Phase::kCutting);
  CHECK(s.got<Notice>(k1)->epoch == 2);
}

TEST_CASE("coordinator: log disk lost: a member that is past the end of the log is refused, never followed") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.all_report({k1, k2}, 2);
  s.write_log();
  Script empty;  // the same id, an emptied log
  empty.connect(k1, 2);
  CHECK(empty.got<Refuse>(k1)->code == Code::kRefused);
  CHECK(empty.coordinator().peers().empty());
}

TEST_CASE("coordinator: a member of another log id or another group is refused") {
  Script s;
  s.form();
  Hello h = s.hello(k4);
  h.log = kLog + 1;
  s.say(k4, h);
  CHECK(s.got<Refuse>(k4)->code == Code::kRefused);
  h = s.hello(k4);
  h.group = "other";
  s.say(k4, h);
  CHECK(s.got<Refuse>(k4)->detail.find("other") != std::string::npos);
}

}  // namespace
}  // namespace regroup::test

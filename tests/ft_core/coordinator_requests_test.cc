// The coordinator: what members ask for: link accusations, failed ops, changes with the same members, configurations.
#include <catch2/catch.hpp>

#include "tests/ft_core/script.h"

namespace regroup::test {
namespace {

const Incarnation k1 = inc(1), k2 = inc(2), k3 = inc(3), k4 = inc(4);
const Incs kAll{k1, k2, k3};

void accuse(Script& s, const Incarnation& by, const Incarnation& whom) { s.say(by, Suspect{whom, SuspectKind::kLink}); }

TEST_CASE("link: both ends accuse each other: exactly one is evicted") {
  Script s;
  s.form();
  accuse(s, k1, k2), accuse(s, k2, k1);
  CHECK(s.phase() == Phase::kIdle);
  s.pass(400, kAll);
  CHECK(s.coordinator().suspected() == std::set{k2});
}

TEST_CASE("link: whoever explains most broken links is evicted, whatever its id") {
  Script s;
  s.form();
  accuse(s, k2, k1), accuse(s, k3, k1);
  s.pass(400, kAll);
  CHECK(s.coordinator().suspected() == std::set{k1});
}

TEST_CASE("link: a host that is cut off goes, although the first accusation names one of the others as well") {
  Script s(6);
  s.form();
  const Incs all{k1, k2, k3, k4, inc(5), inc(6)};
  accuse(s, k1, inc(6));  // 1 and 2 are on the host; nobody knows that
  s.pass(200, all);
  CHECK(s.coordinator().suspected().empty());
  for (const Incarnation& there : {k3, k4, inc(5), inc(6)})
    for (const Incarnation& here : {k1, k2}) accuse(s, here, there), accuse(s, there, here);
  s.pass(200, all);
  CHECK(s.coordinator().suspected() == std::set{k1, k2});
}

TEST_CASE("link: one accusation that nobody joins is judged within half of the suspicion time") {
  Script s;
  s.form();
  accuse(s, k1, k3);
  s.pass(500, kAll);
  CHECK(s.coordinator().suspected() == std::set{k3});
}

TEST_CASE("link: who was evicted for its links and still reaches the coordinator is not let in at once") {
  Script s;
  s.form();
  accuse(s, k1, k3), accuse(s, k2, k3);
  s.pass(400, kAll);
  REQUIRE(s.coordinator().suspected() == std::set{k3});
  s.all_report({k1, k2}, 1);
  s.write_log();
  s.observer(inc(3, 2));
  s.pass(1'500, {k1, k2, inc(3, 2)});  // the others show first that they work together
  CHECK(s.phase() == Phase::kIdle);
  s.pass(700, {k1, k2, inc(3, 2)});
  CHECK(s.phase() == Phase::kCutting);
}

TEST_CASE("link: an accusation of a dead member evicts the dead one, never the accuser") {
  Script s;
  s.form();
  SECTION("its connection closes") {
    accuse(s, k3, k1);
    s.lost(k1);
    s.pass(300, {k2, k3});
  }
  SECTION("it is silent: nothing is judged before the detector has its word") {
    accuse(s, k3, k1);
    s.pass(900, {k2, k3});
    CHECK(s.coordinator().suspected().empty());
    s.pass(300, {k2, k3});
  }
  CHECK(s.coordinator().suspected() == std::set{k1});
}

TEST_CASE("link: an accusation of oneself, or of a stranger, is nothing") {
  Script s;
  s.form();
  accuse(s, k1, k1), accuse(s, k1, k4);
  s.pass(300, kAll);
  CHECK(s.phase() == Phase::kIdle);
}

TEST_CASE("fail: a refused op is failed at everyone by a decision with the same members (digest or op mismatch)") {
  Script s;
  s.form();
  const FailedOp mismatch{3, Code::kMismatch, MemberId{1, 0}, MemberId{2, 0}};
  s.say(k1, FailOp{1, mismatch});
  s.say(k2, FailOp{1, FailedOp{3, Code::kCancelled, {}, {}}});  // the first word counts
  s.all_report(kAll, 2);
  s.write_log();
  CHECK(s.members() == kAll);
  CHECK(s.decision().failed == std::vector{mismatch});
  CHECK(s.decision().trim == 2);
}

TEST_CASE("fail: an op number that no group ever reaches is nothing, so that who founds a group later can count on") {
  Script s;
  s.form();
  s.say(k1, FailOp{1, {~0ull - 1, Code::kCancelled, {}, {}}});
  s.pass(100, kAll);
  CHECK(s.phase() == Phase::kIdle);
  s.say(k1, FailOp{1, {5, Code::kCancelled, {}, {}}});
  s.all_report(kAll, 4);
  s.write_log();
  CHECK(s.decision().failure_of(5));
  CHECK_FALSE(s.decision().failure_of(~0ull - 1));
  s.dead(k3, k1);
  s.report(k1, 4, 4, ~0ull), s.report(k2, 4, 4, 5);  // not a report that counts
  CHECK_FALSE(s.unlogged());
}

TEST_CASE("fail: a cancel that comes too late fails nothing") {
  Script s;
  s.form();
  s.say(k1, FailOp{1, FailedOp{3, Code::kCancelled, {}, {}}});
  s.all_report(kAll, 3);  // all had prepared it: someone may have committed it
  s.write_log();
  CHECK(s.decision().failed.empty());
  CHECK(s.decision().trim == 3);
}

TEST_CASE("fail: a failed op is carried from decision to decision until trim passes it") {
  Script s;
  s.form();
  s.say(k1, FailOp{1, FailedOp{3, Code::kCancelled, {}, {}}});
  s.all_report(kAll, 2);
  s.write_log();
  s.dead(k3, k1);
  s.report(k1, 3, 3, 3), s.report(k2, 2, 2, 3);  // member 2 has not settled it
  s.write_log();
  REQUIRE(s.decision().failed.size() == 1);
  s.dead(k2, k1);
  s.report(k1, 4, 4, 4);
  s.write_log();
  CHECK(s.decision().failed.empty());
}

TEST_CASE("fail: the decision says whether an earlier one had redone the op") {
  Script s;
  s.form();
  s.dead(k3, k1);
  s.report(k1, 2, 2, 3), s.report(k2, 2, 2, 2);
  s.write_log();
  s.say(k1, FailOp{2, FailedOp{3, Code::kCancelled, {}, {}}});
  s.say(k1, FailOp{2, FailedOp{4, Code::kCancelled, {}, {}}});
  s.all_report({k1, k2}, 2);
  s.write_log();
  REQUIRE(s.decision().failed.size() == 2);
  CHECK(s.decision().failed[0].redone);
  CHECK_FALSE(s.decision().failed[1].redone);
}

TEST_CASE("fail: asked for again in the same epoch, or in an old one, it is decided once") {
  Script s;
  s.form();
  const FailOp ask{1, FailedOp{3, Code::kCancelled, {}, {}}};
  s.say(k1, ask);
  s.all_report(kAll, 2);
  s.write_log();
  s.say(k2, ask);
  s.say(k2, FailOp{2, ask.what});
  CHECK(s.phase() == Phase::kIdle);
}

TEST_CASE("ask: a change with the same members, and off shared memory for good") {
  Script s;
  s.form();
  CHECK(s.decision().plane == PlaneKind::kShared);
  s.say(k2, AskChange{1, true, "map"});
  s.all_report(kAll, 2);
  s.write_log();
  CHECK(s.members() == kAll);
  CHECK(s.decision().plane == PlaneKind::kNetwork);
  s.restart();
  s.connect(k1, 2), s.connect(k2, 2), s.connect(k3, 2);
  s.say(k1, AskChange{2, false, "again"});
  s.all_report(kAll, 2);
  s.write_log();
  CHECK(s.decision().plane == PlaneKind::kNetwork);
}

TEST_CASE("ask: about an epoch that is over it is nothing") {
  Script s;
  s.form();
  s.say(k2, AskChange{0, false, "late"});
  CHECK(s.phase() == Phase::kIdle);
}

TEST_CASE("config: two that differ: the later is refused, and told what differs") {
  Script s;
  s.observer(k1);
  Hello h = s.hello(k2);
  h.config_hash = 9, h.config = "x=2";
  s.say(k2, h);
  CHECK(s.got<Refuse>(k2)->code == Code::kConfig);
  CHECK(s.got<Refuse>(k2)->detail.find("x=2") != std::string::npos);
}

TEST_CASE("config: a stray observer that comes first after a restart cannot keep the members out") {
  Script s;
  s.form();
  s.restart();
  Hello stray = s.hello(k4);
  stray.config_hash = 9, stray.ready = Readiness::kHold;
  s.say(k4, stray);
  s.connect(k1, 1);
  CHECK_FALSE(s.got<Refuse>(k1));
  CHECK(s.got<Welcome>(k1));
  CHECK(s.got<Refuse>(k4)->code == Code::kConfig);
  CHECK_FALSE(s.coordinator().peers().contains(k4));
}

}  // namespace
}  // namespace regroup::test

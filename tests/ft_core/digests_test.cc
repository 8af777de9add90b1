// Digests of results: where they differ nobody commits, and a view change redoes the op.
#include <catch2/catch.hpp>

#include "ft/core/commit_counter.h"
#include "tests/ft_core/script.h"

namespace regroup::test {
namespace {

CommitCounter counter_of_3(int submitted) {
  Decision d;
  d.view.epoch = 1;
  for (std::uint32_t m = 1; m <= 3; ++m) d.view.members.push_back(info(m));
  CommitCounter c;
  c.install(d, 0);
  while (submitted-- > 0) c.submit(true);
  return c;
}

TEST_CASE("digests: an op whose digests differ never commits, however often it is prepared") {
  CommitCounter c = counter_of_3(2);
  c.prepare(1, 11), c.prepare(2, 22);
  c.observe_digest(1, 11), c.observe(1, 2), c.observe(2, 2);
  c.observe_digest(2, 23);
  CHECK(c.committable() == 1);
  CHECK(c.differs() == OpId{2});
  c.commit(1);
  CHECK(c.committable() == 1);
}

TEST_CASE("digests: the first op that differs is named, whichever was seen first") {
  CommitCounter c = counter_of_3(2);
  c.prepare(1, 11), c.prepare(2, 22);
  c.observe_digest(2, 9);
  c.observe_digest(1, 9);
  CHECK(c.differs() == OpId{1});
}

TEST_CASE("digests: a plan that asks for none counts as equal") {
  CommitCounter c = counter_of_3(1);
  c.prepare(1);
  c.observe_digest(1, 5);
  c.observe(1, 1), c.observe(2, 1);
  CHECK(c.committable() == 1);
  CHECK(c.freeze().digests.empty());
}

TEST_CASE("digests: the next epoch begins without those of the last") {
  CommitCounter c = counter_of_3(1);
  c.prepare(1, 11);
  c.observe_digest(1, 9);
  Decision d = c.decision();
  d.view.epoch = 2, d.prev = 1;
  c.install(d, 0);
  CHECK_FALSE(c.differs());
  c.prepare(1, 12);
  CHECK(c.freeze().digests == std::vector<std::uint64_t>{12});
}

TEST_CASE("digests: a report carries those of the ops that are prepared and open") {
  CommitCounter c = counter_of_3(3);
  c.prepare(1, 11), c.prepare(2, 22), c.prepare(3, 33);
  c.observe(1, 1), c.observe(2, 1);
  c.commit(1);
  CHECK(c.freeze().digests == std::vector<std::uint64_t>{22, 33});
}

TEST_CASE("digests: an op that is seen to differ is reported as not prepared, though its peer may be gone by then") {
  CommitCounter c = counter_of_3(2);
  c.prepare(1, 11), c.prepare(2, 22);
  c.observe_digest(2, 23);
  CHECK(c.freeze() == Report{1, 1, 0, 2, {11}});
}

struct Reports : Script {
  Reports() {
    form();
    say(inc(1), AskChange{1, false, "digests"});
  }
  void report(std::uint32_t member, OpId prepared, OpId committed, std::vector<std::uint64_t> digests) {
    say(inc(member), Wedged{1, Report{1, prepared, committed, 5, std::move(digests)}});
  }
};

TEST_CASE("digests: trim is cut below the first op whose digests differ") {
  Reports s;
  s.report(1, 4, 2, {33, 44});
  s.report(2, 4, 1, {22, 33, 45});
  s.report(3, 5, 2, {33, 44, 55});
  CHECK(s.unlogged()->trim == 3);
}

TEST_CASE("digests: those of ops that not all have prepared, or that are not shown, say nothing") {
  Reports s;
  s.report(1, 3, 2, {33});
  s.report(2, 5, 2, {33, 44, 55});
  s.report(3, 5, 2, {0, 43, 56});
  CHECK(s.unlogged()->trim == 3);
}

TEST_CASE("digests: no report pulls trim below that of the view") {
  Reports s;
  s.report(1, 2, 2, {});
  s.report(2, 2, 2, {});
  s.report(3, 2, 2, {});
  s.write_log();
  REQUIRE(s.decision().trim == 2);
  s.say(inc(1), AskChange{2, false, "digests"});
  s.say(inc(1), Wedged{2, Report{2, 3, 0, 5, {1, 1, 1}}});
  s.say(inc(2), Wedged{2, Report{2, 3, 0, 5, {2, 2, 2}}});
  s.say(inc(3), Wedged{2, Report{2, 3, 2, 5, {}}});
  CHECK(s.unlogged()->trim == 2);
}

}  // namespace
}  // namespace regroup::test

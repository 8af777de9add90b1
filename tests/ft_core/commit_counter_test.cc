// The commit counter: what may be prepared, committed, cut and reported.
#include "ft/core/commit_counter.h"

#include <catch2/catch.hpp>

namespace regroup {
namespace {

Decision view_of(std::uint32_t members, Epoch epoch, OpId trim) {
  Decision d;
  d.view.epoch = epoch;
  for (std::uint32_t m = 0; m < members; ++m) d.view.members.push_back({MemberId{m, 0}, Incarnation{m + 1, 1}, 0, ""});
  d.prev = epoch - 1;
  d.trim = d.high = trim;
  return d;
}

struct Of3 {
  CommitCounter c;
  Of3() { c.install(view_of(3, 1, 0), 0); }
  void peers(OpId k) { c.observe(1, k), c.observe(2, k); }
  void submit(int n, bool mark = true) {
    while (n-- > 0) c.submit(mark);
  }
  void run_to(OpId k) {  // everybody prepares and commits up to k
    while (c.committed() < k) {
      if (c.high() <= c.committed()) c.submit(true);
      c.prepare(c.committed() + 1);
      peers(c.committed() + 1);
      c.commit(c.committed() + 1);
    }
  }
};

TEST_CASE("commit counter: an op commits only when all members have prepared it") {
  Of3 t;
  t.submit(1);
  t.c.prepare(1);
  CHECK(t.c.committable() == 0);
  t.c.observe(1, 1);
  CHECK(t.c.committable() == 0);  // a majority is not enough
  t.c.observe(2, 1);
  CHECK(t.c.committable() == 1);
  t.c.commit(1);
  CHECK(t.c.committed() == 1);
}

TEST_CASE("commit counter: my own prepared counts like anybody's") {
  Of3 t;
  t.submit(1);
  t.peers(1);
  CHECK(t.c.committable() == 0);
}

TEST_CASE("commit counter: a frozen epoch prepares nothing, but still commits by the rule") {
  Of3 t;
  t.submit(2);
  t.c.prepare(1);
  const Report first = t.c.freeze();
  CHECK(first == Report{1, 1, 0, 2});
  CHECK_FALSE(t.c.can_prepare(2));
  t.peers(1);
  CHECK(t.c.committable() == 1);
  t.c.commit(1);
  CHECK(t.c.freeze().prepared == first.prepared);
}

TEST_CASE("commit counter: what was observed never falls") {
  Of3 t;
  t.submit(2);
  t.c.prepare(1);
  t.peers(2);
  t.c.observe(1, 0);
  CHECK(t.c.committable() == 1);
}

TEST_CASE("commit counter: ops are prepared in order, after they were submitted") {
  Of3 t;
  CHECK_FALSE(t.c.can_prepare(1));
  t.submit(2);
  CHECK_FALSE(t.c.can_prepare(2));
  CHECK(t.c.can_prepare(1));
}

TEST_CASE("commit counter: install settles up to trim and starts every word there") {
  Of3 t;
  t.run_to(3);
  t.submit(2);
  t.c.prepare(4);
  t.c.freeze();
  t.c.install(view_of(2, 2, 4), 0);
  CHECK(t.c.committed() == 4);
  CHECK(t.c.committable() == 4);
  CHECK(t.c.prepared() == 4);
  CHECK_FALSE(t.c.frozen());
  CHECK(t.c.can_prepare(5));
}

TEST_CASE("commit counter: what was prepared behind trim is prepared again") {
  Of3 t;
  t.run_to(3);
  t.submit(1);
  t.c.prepare(4);
  t.c.freeze();
  t.c.install(view_of(2, 2, 3), 0);
  CHECK(t.c.prepared() == 3);
  CHECK(t.c.can_prepare(4));
  t.c.prepare(4);
  t.c.observe(1, 4);
  CHECK(t.c.committable() == 4);
}

TEST_CASE("commit counter: a joiner starts at trim") {
  CommitCounter c;
  c.install(view_of(3, 5, 17), 2);
  CHECK(c.committed() == 17);
  CHECK(c.submit(true) == 18);
}

TEST_CASE("commit counter: an op that a decision failed is settled without preparing, and the next one follows") {
  Of3 t;
  t.submit(1);
  t.c.freeze();
  Decision d = view_of(3, 2, 0);
  d.high = 1;
  d.failed = {{1, Code::kMismatch, MemberId{0, 0}, MemberId{1, 0}}};
  t.c.install(d, 0);
  CHECK(t.c.failure_of(1, false)->code == Code::kMismatch);
  t.c.settle_failed(1);
  t.submit(1);
  REQUIRE(t.c.can_prepare(2));
  t.c.prepare(2);
  t.peers(2);
  CHECK(t.c.committable() == 2);
  t.c.commit(2);
}

TEST_CASE("commit counter: a failed op counts as past in the report, so a member that never saw it pulls nobody back") {
  Of3 t;
  t.submit(1);
  Decision d = view_of(3, 2, 0);
  d.failed = {{1, Code::kCancelled, {}, {}}};
  t.c.freeze();
  t.c.install(d, 0);
  t.c.settle_failed(1);
  CHECK(t.c.freeze() == Report{2, 1, 1, 1});
}

TEST_CASE("commit counter: an op that was settled as failed stays so when the next trim lies before it") {
  Of3 t;
  t.submit(1);
  Decision d = view_of(3, 2, 0);
  d.failed = {{1, Code::kCancelled, {}, {}}};
  t.c.freeze();
  t.c.install(d, 0);
  t.c.settle_failed(1);
  t.c.freeze();
  d.view.epoch = 3;  // another member had not settled it
  t.c.install(d, 0);
  CHECK(t.c.committed() == 1);
  t.submit(1);
  CHECK(t.c.can_prepare(2));
}

TEST_CASE("commit counter: shape ops that anyone had submitted fail at everyone, others are redone") {
  Of3 t;
  t.run_to(1);
  t.submit(1);
  t.c.freeze();
  Decision d = view_of(2, 2, 1);
  d.high = 3;
  t.c.install(d, 0);
  CHECK_FALSE(t.c.failure_of(1, true));
  CHECK(t.c.failure_of(2, true)->code == Code::kViewChanged);
  CHECK(t.c.failure_of(3, true)->code == Code::kViewChanged);  // not submitted here
  CHECK_FALSE(t.c.failure_of(4, true));
  CHECK_FALSE(t.c.failure_of(2, false));
}

TEST_CASE("commit counter: an op that a decision failed and a later one fails again ends the same way at everyone") {
  // Found by the explorer: one member settles shape op 1 after decision 2, another only after decision 3, which a cancel
  // had asked for.
  Of3 t;
  t.submit(1);
  t.c.freeze();
  Decision d = view_of(3, 3, 0);
  d.high = 1;
  d.failed = {{1, Code::kCancelled, {}, {}, true}};
  t.c.install(d, 0);
  CHECK(t.c.failure_of(1, true)->code == Code::kViewChanged);
  CHECK(t.c.failure_of(1, false)->code == Code::kCancelled);
  d.view.epoch = 4;
  d.failed[0].redone = false;  // the cancel came first
  t.c.install(d, 0);
  CHECK(t.c.failure_of(1, true)->code == Code::kCancelled);
}

TEST_CASE("commit counter: a cut falls on the first mark at or behind prepared, and nothing behind it is prepared") {
  Of3 t;
  t.run_to(1);
  t.c.submit(false), t.c.submit(true), t.c.submit(false);
  t.c.prepare(2);
  t.c.plan_cut();
  CHECK_FALSE(t.c.cut_reached());
  REQUIRE(t.c.can_prepare(3));
  t.c.prepare(3);
  CHECK_FALSE(t.c.can_prepare(4));
  t.peers(2);
  t.c.commit(2);
  CHECK_FALSE(t.c.cut_reached());  // a planned cut is reported only when its mark is committed
  t.peers(3);
  t.c.commit(3);
  CHECK(t.c.cut_reached() == OpId{3});
}

TEST_CASE("commit counter: who stands at a mark is cut at once; a view's beginning is a mark") {
  Of3 t;
  t.c.plan_cut();
  CHECK(t.c.cut_reached() == OpId{0});
  t.submit(1);
  CHECK_FALSE(t.c.can_prepare(1));
}

TEST_CASE("commit counter: a failed op that ends a step is a mark like any other") {
  Of3 t;
  t.run_to(1);
  t.c.submit(false), t.c.submit(true);
  Decision d = view_of(3, 2, 1);
  d.failed = {{3, Code::kCancelled, {}, {}}};
  t.c.freeze();
  t.c.install(d, 0);
  t.c.prepare(2);
  t.c.plan_cut();
  CHECK_FALSE(t.c.cut_reached());
  t.peers(2);
  t.c.commit(2);
  t.c.settle_failed(3);
  CHECK(t.c.cut_reached() == OpId{3});
}

TEST_CASE("commit counter: behind a cut a failed op waits for the change, so that the state served to a joiner is the mark's") {
  Of3 t;
  t.run_to(1);
  t.submit(1);
  Decision d = view_of(3, 2, 1);
  d.failed = {{2, Code::kCancelled, {}, {}}};
  t.c.freeze();
  t.c.install(d, 0);
  REQUIRE(t.c.failure_of(2, false));
  t.c.plan_cut();
  CHECK(t.c.cut_reached() == OpId{1});
  CHECK_FALSE(t.c.failure_of(2, false));
  CHECK_FALSE(t.c.can_prepare(2));
  const Report report = t.c.freeze();
  CHECK(report.prepared == 1);
  CHECK(report.committed == 1);
}

TEST_CASE("commit counter: marks are told apart over a full window") {
  Of3 t;
  t.run_to(1);
  while (t.c.room(CommitCounter::kMaxWindow)) t.c.submit(false);
  CHECK(t.c.high() == 1 + CommitCounter::kMaxWindow);
  t.c.plan_cut();
  CHECK(t.c.cut_reached() == OpId{1});  // op 1 was a mark, op 1 + window is not
}

TEST_CASE("commit counter: an unplanned change ends a planned cut") {
  Of3 t;
  t.c.plan_cut();
  t.submit(1);
  t.c.freeze();
  t.c.install(view_of(2, 2, 0), 0);
  CHECK_FALSE(t.c.cut_reached());
  CHECK(t.c.can_prepare(1));
}

}  // namespace
}  // namespace regroup

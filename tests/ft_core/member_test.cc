// The member: what one incarnation does on the coordinator's word.
#include "ft/core/member.h"

#include <catch2/catch.hpp>

#include "tests/ft_core/script.h"

namespace regroup::test {
namespace {

Decision decision(Epoch epoch, OpId trim, std::vector<MemberInfo> members) {
  Decision d;
  d.view = {kLog, epoch, std::move(members)};
  d.prev = epoch - 1;
  d.trim = d.high = trim;
  if (epoch == 1) {
    d.planned = d.founding = true;
    for (const MemberInfo& m : d.view.members) d.joined.push_back(m.inc);
  }
  return d;
}

// The view that member 1 enters, level as of op 7.
Decision entry_at_7() {
  Decision d = decision(2, 7, {info(1), info(2)});
  d.joined = {inc(1)};
  return d;
}

// Member 1, and everything that it has said and ordered since the last forget().
struct One {
  Member member{MemberConfig{"g", info(1), 5, "config", 3}};
  MemberActions actions;

  void feed(MemberInput input) { member.on(input, actions); }
  void hear(ToMember message) { feed(FromCoordinator{std::move(message)}); }
  void forget() { actions.clear(); }
  void observe() {  // up to where it may be asked to fetch
    feed(Connected{});
    hear(Welcome{kLog, 1});
    feed(Parked{});
  }
  template <class M>
  std::optional<M> said() const {
    std::optional<M> last;
    for (const MemberAction& a : actions)
      if (const auto* send = std::get_if<SendToCoordinator>(&a))
        if (const M* m = std::get_if<M>(&send->message)) last = *m;
    return last;
  }
  template <class A>
  std::optional<A> did() const {
    std::optional<A> last;
    for (const MemberAction& a : actions)
      if (const A* found = std::get_if<A>(&a)) last = *found;
    return last;
  }
  static Decision view1() { return decision(1, 0, {info(1), info(2), info(3)}); }
  void in_view_1() {
    feed(Connected{});
    hear(Welcome{kLog, 0});
    feed(Parked{});
    hear(Install{view1()});
    forget();
  }
  void wedged_in_1(OpId prepared) {
    hear(Wedge{101, view1()});
    feed(Frozen{Report{1, prepared, prepared, prepared}});
    forget();
  }
};

TEST_CASE("member: says hello, waits as an observer, installs the founding view") {
  One one;
  one.feed(Connected{});
  CHECK(one.said<Hello>()->installed == 0);
  CHECK(one.said<Hello>()->ready == Readiness::kNo);
  one.hear(Welcome{kLog, 0});
  one.feed(Parked{});
  CHECK(one.said<Ready>());
  one.hear(Install{One::view1()});
  REQUIRE(one.did<InstallData>());
  CHECK(one.did<InstallData>()->self == 0);
  CHECK(one.member.phase() == Member::Phase::kActive);
}

TEST_CASE("member: a wedge is sticky: it freezes once and repeats the same report to whoever asks") {
  One one;
  one.in_view_1();
  one.hear(Wedge{101, One::view1()});
  CHECK(one.did<FreezeData>()->epoch == 1);
  CHECK_FALSE(one.said<Wedged>());
  one.feed(Frozen{Report{1, 4, 3, 5}});
  CHECK(one.said<Wedged>() == Wedged{101, {1, 4, 3, 5}});
  one.forget();
  one.hear(Wedge{201, One::view1()});  // another coordinator's round
  CHECK(one.said<Wedged>() == Wedged{201, {1, 4, 3, 5}});
  CHECK_FALSE(one.did<FreezeData>());
  CHECK(one.member.phase() == Member::Phase::kWedged);
}

TEST_CASE("member: what is frozen twice is reported once: a second Frozen changes nothing") {
  One one;
  one.in_view_1();
  one.wedged_in_1(4);
  one.feed(Frozen{Report{1, 6, 6, 6}});
  CHECK(one.actions.empty());
  one.feed(Connected{});
  CHECK(one.said<Wedged>()->report.prepared == 4);
}

TEST_CASE("member: refuses a coordinator with another view log, or one whose log ends before our view") {
  One one;
  one.in_view_1();
  one.hear(Welcome{kLog + 1, 1});
  CHECK(one.did<DropCoordinator>());
  one.forget();
  one.wedged_in_1(1);
  one.hear(Install{decision(2, 1, {info(1), info(2)})});
  one.hear(Welcome{kLog, 1});
  CHECK(one.did<DropCoordinator>());
}

TEST_CASE("member: orders under another log id are ignored (two coordinators)") {
  One one;
  one.in_view_1();
  Decision foreign = One::view1();
  foreign.view.log = kLog + 1;
  one.hear(Wedge{1, foreign});
  foreign.view.epoch = 2, foreign.prev = 1;
  one.hear(Install{foreign});
  one.hear(Evicted{kLog + 1, 9});
  CHECK(one.actions.empty());
  CHECK(one.member.phase() == Member::Phase::kActive);
}

TEST_CASE("member: a wedge or a decision of an old epoch is ignored (zombie coordinator, late messages)") {
  One one;
  one.in_view_1();
  one.wedged_in_1(1);
  one.hear(Install{decision(2, 1, {info(1), info(2)})});
  one.forget();
  one.hear(Wedge{101, One::view1()});
  one.hear(Install{One::view1()});
  one.hear(Evicted{kLog, 2});
  CHECK(one.actions.empty());
  CHECK(one.member.installed() == 2);
}

TEST_CASE("member: installs nothing that it has not reported for") {
  One one;
  one.in_view_1();
  one.hear(Install{decision(2, 0, {info(1), info(2)})});  // never wedged in 1
  CHECK(one.member.installed() == 1);
  CHECK_FALSE(one.did<InstallData>());
}

TEST_CASE("member: who missed a decision installs it from the next wedge first") {
  One one;
  one.in_view_1();
  one.wedged_in_1(2);
  const Decision second = decision(2, 2, {info(1), info(2)});
  one.hear(Wedge{300, second});
  CHECK(one.did<InstallData>()->decision == second);
  CHECK(one.did<FreezeData>()->epoch == 2);
}

TEST_CASE("member: after a reconnect it repeats what the coordinator may have lost") {
  One one;
  one.in_view_1();
  one.feed(PeerSuspected{inc(3), SuspectKind::kLink});
  one.feed(OpRefused{FailedOp{4, Code::kMismatch, {1, 0}, {2, 0}}});
  one.feed(ChangeWanted{1, true, "map"});
  one.feed(LeaveWanted{});
  one.forget();
  one.feed(Connected{});
  CHECK(one.said<Hello>()->installed == 1);
  CHECK(one.said<Suspect>() == Suspect{inc(3), SuspectKind::kLink});
  CHECK(one.said<FailOp>()->what.op == 4);
  CHECK(one.said<AskChange>()->ban_shared);
  CHECK(one.said<Leave>());
}

TEST_CASE(
    "member: a request about an epoch ends with it; a refused op is asked for again until a decision settles it") {
  One one;
  one.in_view_1();
  one.feed(PeerSuspected{inc(3), SuspectKind::kDead});
  one.feed(OpRefused{FailedOp{4, Code::kCancelled, {}, {}}});
  one.feed(OpRefused{FailedOp{5, Code::kCancelled, {}, {}}});
  one.wedged_in_1(3);
  Decision second = decision(2, 3, {info(1), info(2)});
  second.failed = {{4, Code::kCancelled, {}, {}}};
  one.hear(Install{second});
  CHECK(one.said<FailOp>() == FailOp{2, {5, Code::kCancelled, {}, {}}});
  one.forget();
  one.feed(Connected{});
  CHECK_FALSE(one.said<Suspect>());
  CHECK(one.said<FailOp>()->what.op == 5);
}

TEST_CASE("member: a notice asks the data side once; the cut stands when the plan is renewed") {
  One one;
  one.in_view_1();
  one.hear(Notice{1, 10});
  CHECK(one.did<CutData>()->epoch == 1);
  one.feed(CutReached{1, 6});
  CHECK(one.said<CutDone>() == CutDone{1, 10, 6});
  one.forget();
  one.hear(Notice{1, 201});  // of a restarted coordinator
  CHECK_FALSE(one.did<CutData>());
  CHECK(one.said<CutDone>() == CutDone{1, 201, 6});
  one.forget();
  one.feed(Connected{});
  CHECK(one.said<CutDone>()->op == 6);
}

TEST_CASE("member: an observer that is not level does not install the view that names it") {
  One one;
  one.observe();
  Decision d = entry_at_7();
  SECTION("never fetched") {}
  SECTION("never fetched, and those who had the state leave as it enters") {
    d.view.members = {info(1)};
    d.planned = true;
  }
  SECTION("level as of another op") {
    one.hear(Fetch{5, kLog, 6, info(2)});
    one.feed(LevelReached{5, 6, true});
  }
  SECTION("the transfer failed") {
    one.hear(Fetch{5, kLog, 7, info(2)});
    one.feed(LevelReached{5, 7, false});
  }
  SECTION("asked again, and only the first answer came") {
    one.hear(Fetch{5, kLog, 7, info(2)});
    one.hear(Fetch{6, kLog, 7, info(2)});
    one.feed(LevelReached{5, 7, true});
  }
  SECTION("asked again after it was level, and not level anew") {
    one.hear(Fetch{5, kLog, 7, info(2)});
    one.feed(LevelReached{5, 7, true});
    one.hear(Fetch{6, kLog, 7, info(2)});
  }
  one.hear(Install{d});
  CHECK(one.member.phase() == Member::Phase::kObserver);
  CHECK_FALSE(one.did<InstallData>());
}

TEST_CASE("member: a level observer installs the view that it joins") {
  One one;
  one.observe();
  one.hear(Fetch{5, kLog, 7, info(2)});
  CHECK(one.did<FetchState>()->what.source == info(2));
  one.feed(LevelReached{5, 7, true});
  CHECK(one.said<Level>() == Level{5, 7, true});
  one.hear(Install{entry_at_7()});
  CHECK(one.member.installed() == 2);
}

TEST_CASE("member: an observer that is asked again while it fetches fetches once, and stays level") {
  One one;
  one.observe();
  one.hear(Fetch{5, kLog, 7, info(2)});
  one.forget();
  one.hear(Fetch{5, kLog, 7, info(2)});  // its hello came twice
  CHECK_FALSE(one.did<FetchState>());
  one.feed(LevelReached{5, 7, true});
  CHECK(one.said<Level>() == Level{5, 7, true});
  one.forget();
  one.feed(LevelReached{5, 7, false});  // of a transfer that nobody began
  CHECK_FALSE(one.said<Level>());
  one.hear(Install{entry_at_7()});
  CHECK(one.member.installed() == 2);
}

TEST_CASE("member: an observer does not follow a view that is older than the one that it follows") {
  One one;
  one.feed(Connected{});
  one.hear(Welcome{kLog, 2, {info(2)}});
  REQUIRE(one.did<FollowView>());
  one.forget();
  one.hear(Welcome{kLog, 1, {info(3)}});  // repeated, and late
  CHECK_FALSE(one.did<FollowView>());
  one.hear(Welcome{kLog, 2, {info(2)}});  // on a new connection
  CHECK(one.did<FollowView>());
}

TEST_CASE("member: a fetch of an older plan that comes late neither replaces the newer one nor takes its level back") {
  One one;
  one.observe();
  one.hear(Fetch{5, kLog, 7, info(2)});
  one.hear(Fetch{6, kLog, 7, info(2)});
  one.forget();
  one.hear(Fetch{5, kLog, 7, info(2)});
  CHECK_FALSE(one.did<FetchState>());
  one.feed(LevelReached{6, 7, true});
  CHECK(one.said<Level>() == Level{6, 7, true});
  one.hear(Fetch{5, kLog, 7, info(2)});
  one.hear(Install{entry_at_7()});
  CHECK(one.member.installed() == 2);
}

TEST_CASE("member: plans of another life of the coordinator may have lower numbers") {
  One one;
  one.observe();
  one.hear(Fetch{kPlansOfALife * 5, kLog, 7, info(2)});
  one.forget();
  one.hear(Fetch{3, kLog, 7, info(2)});
  CHECK(one.did<FetchState>());
}

TEST_CASE("member: an observer whose fetch failed says that it is ready when it is parked again") {
  One one;
  one.observe();
  one.hear(Fetch{5, kLog, 7, info(2)});
  one.feed(LevelReached{5, 7, false});
  one.forget();
  one.feed(Parked{});
  CHECK(one.said<Ready>());
}

TEST_CASE("member: an observer hears of every view, and fetches nothing before it has caught up") {
  One one;
  one.feed(Connected{});
  one.feed(Parked{Readiness::kFounder});
  CHECK(one.said<Ready>()->how == Readiness::kFounder);
  one.hear(Welcome{kLog, 1, {info(2), info(3)}});
  REQUIRE(one.did<FollowView>());
  CHECK(one.did<FollowView>()->view.members.size() == 2);
  one.hear(Fetch{5, kLog, 7, info(2)});
  CHECK_FALSE(one.did<FetchState>());
  one.feed(Parked{Readiness::kLevel});
  one.hear(Fetch{6, kLog, 9, info(2)});
  REQUIRE(one.did<FetchState>());
  one.feed(LevelReached{6, 9, false});  // not handed the rest in time
  CHECK(one.said<Ready>()->how == Readiness::kFounder);
  one.forget();
  one.hear(Fetch{7, kLog, 9, info(2)});
  CHECK_FALSE(one.did<FetchState>());
  one.feed(Connected{});
  CHECK(one.said<Hello>()->ready == Readiness::kFounder);
}

TEST_CASE("member: an observer that is not parked fetches nothing, so no state is overwritten under the user") {
  One one;
  one.feed(Connected{});
  one.hear(Welcome{kLog, 1});
  one.hear(Fetch{5, kLog, 7, info(2)});
  CHECK_FALSE(one.did<FetchState>());
}

TEST_CASE("member: a zombie learns that it was evicted, and nothing moves it afterwards") {
  One one;
  one.in_view_1();
  SECTION("by the decision") { one.hear(Install{decision(2, 1, {info(2), info(3)})}); }
  SECTION("when it asks") { one.hear(Evicted{kLog, 2}); }
  SECTION("wedged before") {
    one.wedged_in_1(1);
    one.hear(Evicted{kLog, 3});
  }
  CHECK(one.did<Ended>()->code == Code::kEvicted);
  one.forget();
  one.feed(Connected{});
  one.hear(Wedge{101, One::view1()});
  one.feed(Frozen{Report{1, 9, 9, 9}});
  CHECK(one.actions.empty());
}

TEST_CASE("member: a leaver that is out of the view has left, not been evicted") {
  One one;
  one.in_view_1();
  one.feed(LeaveWanted{});
  one.hear(Install{decision(2, 1, {info(2), info(3)})});
  CHECK(one.did<Ended>()->code == Code::kClosed);
}

TEST_CASE("member: a refused observer ends with the reason; a refused member only drops that coordinator") {
  One one;
  SECTION("observer") {
    one.feed(Connected{});
    one.hear(Refuse{Code::kConfig, "differs"});
    CHECK(one.did<Ended>()->code == Code::kConfig);
  }
  SECTION("member") {
    one.in_view_1();
    one.hear(Refuse{Code::kRefused, "stray"});
    CHECK(one.did<DropCoordinator>());
    CHECK(one.member.phase() == Member::Phase::kActive);
  }
}

TEST_CASE("member: a level observer that is asked for the same state again is level still") {
  One one;
  one.observe();
  one.hear(Fetch{5, kLog, 7, info(2)});
  one.feed(LevelReached{5, 7, true});
  one.forget();
  one.hear(Fetch{5, kLog, 7, info(2)});  // its hello came twice
  CHECK_FALSE(one.did<FetchState>());
  CHECK(one.said<Level>() == Level{5, 7, true});
  one.hear(Install{decision(2, 7, {info(1), info(2)})});
  CHECK(one.did<InstallData>());
}

}  // namespace
}  // namespace regroup::test

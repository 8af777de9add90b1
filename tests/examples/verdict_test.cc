// The demo's verdict: a good run passes, and each rule broken once turns it red.
#include <catch2/catch.hpp>

#include "examples/digits_demo/verdict.h"

using namespace digits;

namespace {

constexpr std::uint64_t kSteps = 10;

Life life(int replica, std::uint64_t from, std::uint64_t to, bool ends) {
  Life l;
  l.replica = replica;
  l.begin = static_cast<std::int64_t>(from) * 1'000'000 + replica;
  l.entries.push_back({false, from - 1, from == 1 ? 1u : 3u, l.begin});
  for (std::uint64_t s = from; s <= to; ++s) {
    Commit c{s, s < 5 ? 1u : s < 8 ? 2u : 3u, {0, 1, 2}, s == 5 ? 2u : 1u, "d" + std::to_string(s), static_cast<std::int64_t>(s + 1) * 1'000'000};
    if (c.epoch == 2) c.members = {0, 1};
    l.records.push_back(c.t);
    l.commits.push_back(c);
  }
  l.last = l.records.back();
  if (ends) {
    l.left = l.final = true;
    l.final_step = kSteps;
    l.final_digest = "end";
    l.accuracy = 0.97;
  }
  return l;
}

// Replica 2 is killed in step 5, the others redo it without it, and it is back from step 8 on.
RunRecord good_run() {
  RunRecord run;
  run.lives = {life(0, 1, kSteps, true), life(1, 1, kSteps, true), life(2, 1, 4, false), life(2, 8, kSteps, true)};
  run.faults.push_back({2, true, true, "kill:2@failpoint:after_first_chunk", 5'500'000});
  return run;
}

Verdict of(const RunRecord& run) { return judge(run, kSteps, 3, 0.97); }

}  // namespace

TEST_CASE("a run that kept its promises passes, with its figures") {
  const Verdict v = of(good_run());
  CHECK(v.wrong.empty());
  CHECK(v.lost_steps == 0);
  CHECK(v.kills == 1);
  CHECK(v.kills_mid_op == 1);
  CHECK(v.joins == 1);
  CHECK(v.redone == 2);
  REQUIRE(v.recovery_ms.size() == 1);
  CHECK(v.recovery_ms[0] == Approx(1.0));      // last record of the victim at 5 ms, survivors commit at 6 ms
  CHECK(v.join_gap_ms_max == Approx(1.0));
}

TEST_CASE("a step that no view committed is lost") {
  RunRecord run = good_run();
  for (Life& l : run.lives) std::erase_if(l.commits, [](const Commit& c) { return c.step == 6; });
  CHECK(of(run).lost_steps == 1);
  CHECK_FALSE(of(run).good());
}

TEST_CASE("a step that a living member of the view did not commit, or committed twice, is lost") {
  RunRecord missing = good_run();
  std::erase_if(missing.lives[1].commits, [](const Commit& c) { return c.step == 3; });
  CHECK(of(missing).lost_steps == 1);
  RunRecord twice = good_run();
  twice.lives[1].commits.push_back(twice.lives[1].commits[2]);
  CHECK(of(twice).lost_steps == 1);
}

TEST_CASE("digests that differ in one step or at the end turn the verdict red") {
  RunRecord step = good_run();
  step.lives[0].commits[3].digest = "other";
  CHECK_FALSE(of(step).digests_equal);
  RunRecord end = good_run();
  end.lives[3].final_digest = "other";
  CHECK_FALSE(of(end).good());
  RunRecord missing = good_run();
  missing.lives[3].final = false;
  CHECK_FALSE(of(missing).good());
}

TEST_CASE("faults that hit no operation, and accuracy that is low or far from the reference, turn the verdict red") {
  RunRecord quiet = good_run();
  for (Life& l : quiet.lives)
    for (Commit& c : l.commits) c.attempts = 1;
  CHECK_FALSE(of(quiet).good());
  RunRecord low = good_run();
  for (Life& l : low.lives) l.accuracy = 0.94;
  CHECK_FALSE(judge(low, kSteps, 3, 0.94).good());
  CHECK_FALSE(judge(good_run(), kSteps, 3, 0.995).good());
}

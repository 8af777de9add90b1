// Faults of `regroup run --chaos` on real processes, the coordinator among them, and a whole group that survives one.
#include <catch2/catch.hpp>
#include <csignal>

#include "tests/launch/run_helper.h"

using namespace launch_test;

namespace {

const Json* find(const std::vector<Json>& events, const std::string& name, int rank, int which = 0) {
  for (const Json& j : events)
    if (j.at("event") == name && j.value("rank", -2) == rank && which-- == 0) return &j;
  return nullptr;
}

std::int64_t time_of(const Json* j) { return j != nullptr ? j->at("time_ns").get<std::int64_t>() : -1; }

}  // namespace

TEST_CASE("a kill by time hits its rank once, and the rank is started again") {
  const Ended e = run_script({"-n", "2", "--restart", "--chaos", "kill:1@time:100ms"},
                             "[ $RANK = 1 ] || exit 0; [ -e $WORK/mark ] && exit 0; touch $WORK/mark; exec sleep 1000");
  CHECK(e.status == 0);
  const Json *fault = find(e.events, "fault", 1), *end = find(e.events, "exit", 1), *start = find(e.events, "start", 1);
  REQUIRE((fault != nullptr && end != nullptr && start != nullptr));
  CHECK(fault->at("kind") == "kill");
  CHECK(fault->at("fault") == "kill:1@time:100ms");
  CHECK(end->at("signal") == SIGKILL);
  CHECK(time_of(fault) <= time_of(end));
  CHECK(time_of(fault) - time_of(start) >= 100'000'000 - 50'000'000);  // counted from the start of all ranks
  CHECK(find(e.events, "fault", 1, 1) == nullptr);
  CHECK(find(e.events, "restart", 1) != nullptr);
}

TEST_CASE("a stop by time ends after its length") {
  // Rank 0 sees a gap in its own time, bounded by the run's timeout, and only then ends well.
  const Ended e = run_script(
      {"-n", "1", "--timeout", "15", "--chaos", "stop:0@time:50ms+300ms"},
      "last=$(date +%s%N); while :; do t=$(date +%s%N); [ $((t - last)) -gt 250000000 ] && exit 0; last=$t; done");
  CHECK(e.status == 0);
  const Json *stop = find(e.events, "stop", 0), *go = find(e.events, "continue", 0),
             *fault = find(e.events, "fault", 0);
  REQUIRE((stop != nullptr && go != nullptr && fault != nullptr));
  CHECK(time_of(go) - time_of(fault) >= 300'000'000);
  CHECK(fault->at("kind") == "stop");
}

TEST_CASE("step and failpoint faults are armed in the victim, and each only until it has happened") {
  const Ended e =
      run_script({"-n", "2", "--restart", "--chaos",
                  "kill:1@step:60,stop:1@failpoint:wedged#3+100ms,kill:1@failpoint:after_prepared#40"},
                 "echo armed [$REGROUP_FAILPOINTS]; case $REGROUP_FAILPOINTS in *wedged*) kill -STOP $$;; esac; "
                 "[ -z \"$REGROUP_FAILPOINTS\" ] || kill -9 $$");
  CHECK(e.status == 0);
  CHECK(has(e.output, "[0] armed []\n"));
  CHECK(count_of(e.output, "[1] armed [") == 3);
  const std::size_t first = e.output.find("[1] armed [step#60=kill,wedged#3=stop]\n");
  const std::size_t second = e.output.find("[1] armed [after_prepared#40=kill]\n");
  const std::size_t third = e.output.find("[1] armed []\n");
  CHECK((first < second && second < third && third != std::string::npos));
  REQUIRE(find(e.events, "fault", 1, 2) != nullptr);
  CHECK(find(e.events, "fault", 1, 0)->at("fault") == "stop:1@failpoint:wedged#3+100ms");
  CHECK(find(e.events, "fault", 1, 1)->at("fault") == "kill:1@step:60");
  CHECK(time_of(find(e.events, "continue", 1)) - time_of(find(e.events, "stop", 1)) >= 100'000'000);
}

TEST_CASE("a fault that never happened is named at the end") {
  const Ended e = run_script({"-n", "1", "--chaos", "kill:0@step:60"}, "true");
  CHECK(e.status == 0);
  CHECK(has(e.output, "the fault kill:0@step:60 never happened"));
}

TEST_CASE("somebody else's kill is not taken for a fault that has to come in the launcher's own time") {
  const Ended e =
      run_script({"-n", "1", "--restart", "--chaos", "kill:0@time:300ms"},
                 "echo life; [ -e $WORK/two ] && exit 0; [ -e $WORK/one ] && { touch $WORK/two; exec sleep 1000; }; "
                 "touch $WORK/one; kill -9 $$");
  CHECK(e.status == 0);
  CHECK(count_of(e.output, "[0] life") == 3);
  CHECK(find(e.events, "fault", 0, 1) == nullptr);
}

TEST_CASE("failpoints of the environment reach the ranks of a run without faults of its own") {
  ::setenv("REGROUP_FAILPOINTS", "wedged=stop", 1);
  const Ended plain = run_script({"-n", "1"}, "echo [$REGROUP_FAILPOINTS]");
  const Ended chaos = run_script({"-n", "2", "--chaos", "kill:1@step:9"}, "echo [$REGROUP_FAILPOINTS]");
  ::unsetenv("REGROUP_FAILPOINTS");
  CHECK(has(plain.output, "[0] [wedged=stop]"));
  CHECK(has(chaos.output, "[0] []"));
  CHECK(has(chaos.output, "[1] [step#9=kill]"));
}

TEST_CASE("a coordinator that dies is started again at its address, with its log") {
  Runner run({"-n", "1", "--chaos", "kill:coordinator@time:50ms", "--", "sh", "-c",
              "while [ $(grep -c coordinator_start $WORK/events) -lt 2 ]; do sleep 0.01; done; exec " + bin("regroup") +
                  " status --json --coordinator $REGROUP_COORDINATOR"});
  CHECK(run.wait() == 0);
  INFO(run.output());
  const std::vector<Json> starts = run.events("coordinator_start");
  REQUIRE(starts.size() == 2);
  CHECK(starts[0].at("address") == starts[1].at("address"));
  CHECK(starts[0].at("pid") != starts[1].at("pid"));
  CHECK(run.events("coordinator_exit").size() == 1);
  CHECK(has(run.output(), "the coordinator died by SIGKILL; starts again"));
  CHECK(has(run.output(), "[0] {"));
  for (const pid_t pid : run.pids()) CHECK(wait_gone(pid));
  CHECK_FALSE(run.left_files());
}

TEST_CASE("a coordinator that is stopped goes on after its time") {
  Runner run({"-n", "1", "--chaos", "stop:coordinator@time:50ms+200ms", "--", "sh", "-c",
              "while ! grep -q '\"continue\"' $WORK/events; do sleep 0.01; done; exec " + bin("regroup") +
                  " status --coordinator $REGROUP_COORDINATOR"});
  CHECK(run.wait() == 0);
  INFO(run.output());
  CHECK(run.events("coordinator_exit").empty());
}

TEST_CASE("training goes on through a kill inside an op; the death is told before the process is gone") {
  Runner run({"-n", "3", "--restart", "--chaos", "kill:1@failpoint:after_first_chunk#60", "--", bin("train_digits"),
              "--steps", "60", "--report-every", "0"});
  CHECK(run.wait() == 0);
  INFO(run.output());
  for (int i = 0; i < 3; ++i) CHECK(has(run.output(), "[" + std::to_string(i) + "] done: 60 steps"));
  const std::vector<Json> events = run.events();
  const Json *death = find(events, "death", 1), *end = find(events, "exit", 1);
  REQUIRE((death != nullptr && end != nullptr));
  CHECK(time_of(death) <= time_of(end));
  CHECK(run.events("death").size() == 1);  // who leaves in order is not reported
  REQUIRE(run.events("told").size() == 1);
  CHECK(run.events("told")[0].at("incarnation") == death->at("incarnation"));
  for (const pid_t pid : run.pids()) CHECK(wait_gone(pid));
}

TEST_CASE("training goes on through the coordinator's death and a kill while it is away") {
  Runner run({"-n", "3", "--restart", "--chaos", "kill:coordinator@time:400ms,kill:2@time:401ms", "--",
              bin("train_digits"), "--steps", "150", "--report-every", "0"});
  CHECK(run.wait() == 0);
  INFO(run.output());
  for (int i = 0; i < 3; ++i) CHECK(has(run.output(), "[" + std::to_string(i) + "] done: 150 steps"));
  CHECK(run.events("coordinator_start").size() == 2);
  CHECK(run.events("told").size() == 1);
}

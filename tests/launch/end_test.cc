// How a run ends from outside: Ctrl-C, SIGTERM, the timeout, a kill of the launcher; nobody is left behind.
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>

#include "base/clock.h"
#include "tests/launch/run_helper.h"

using namespace launch_test;
using regroup::now;

namespace {

// A rank with a child of its own that ignores what a terminal sends; both say their pid.
const char* const kStubborn =
    "trap '' TERM; (trap '' TERM INT; exec sleep 1000) & echo pid $! pid $$; wait; wait; sleep 1000";

std::vector<pid_t> said_pids(const std::string& output) {
  std::vector<pid_t> pids;
  for (std::size_t at = 0; (at = output.find("pid ", at)) != output.npos; at += 4)
    pids.push_back(static_cast<pid_t>(std::strtol(output.c_str() + at + 4, nullptr, 10)));
  return pids;
}

void check_nobody(const Runner& run) {
  for (const pid_t pid : run.pids()) CHECK(wait_gone(pid));
  for (const pid_t pid : said_pids(run.output())) CHECK(wait_gone(pid));
}

}  // namespace

TEST_CASE("Ctrl-C ends everything: SIGTERM first, SIGKILL after the grace, children of ranks included") {
  Runner run({"-n", "2", "--grace", "0.2", "--restart", "--", "sh", "-c", kStubborn});
  REQUIRE(run.wait_for("pid ", 4));
  run.send(SIGINT);
  CHECK(run.wait() == 128 + SIGINT);
  CHECK(run.events("killing").size() >= 1);
  CHECK(run.events("start").size() == 2);  // nobody is started again
  check_nobody(run);
  CHECK_FALSE(run.left_files());
}

TEST_CASE("a rank may end in order after SIGTERM, also one that is stopped") {
  Runner run(
      {"-n", "2", "--", "sh", "-c",
       "trap 'echo saved; exit 0' TERM; echo ready; [ $RANK = 1 ] && kill -STOP $$; while :; do sleep 0.01; done"});
  REQUIRE(run.wait_for("ready", 2));
  REQUIRE(run.wait_for_event("stop"));
  run.send(SIGTERM);
  CHECK(run.wait() == 128 + SIGTERM);
  CHECK(count_of(run.output(), "saved") == 2);
  CHECK(run.events("killing").empty());
  check_nobody(run);
}

TEST_CASE("a second Ctrl-C has no patience") {
  Runner run({"-n", "1", "--grace", "1000", "--", "sh", "-c", kStubborn});
  REQUIRE(run.wait_for("pid ", 2));
  run.send(SIGINT);
  REQUIRE(run.wait_for_event("interrupted"));
  run.send(SIGINT);
  CHECK(run.wait() == 128 + SIGINT);
  check_nobody(run);
}

TEST_CASE("a run that does not end is ended at its timeout, with all its processes") {
  Runner run({"-n", "2", "--timeout", "0.3", "--grace", "0.1", "--", "sh", "-c", kStubborn});
  CHECK(run.wait() == 124);
  CHECK(has(run.output(), "not over after 0.3 s"));
  CHECK(run.events("timeout").size() == 1);
  check_nobody(run);
}

TEST_CASE("ranks and coordinator do not outlive a killed launcher") {
  Runner run({"-n", "2", "--", "sh", "-c", "echo pid $$; exec sleep 1000"});
  REQUIRE(run.wait_for("pid ", 2));
  REQUIRE(run.wait_for_event("coordinator_start"));
  run.send(SIGKILL);
  CHECK(run.wait() == 128 + SIGKILL);
  CHECK(run.pids().size() == 3);
  check_nobody(run);
}

TEST_CASE("what a rank leaves in its process group ends with it") {
  Runner run({"-n", "1", "--", "sh", "-c", "sleep 1000 & echo pid $!"});
  const regroup::Instant begin = now();
  CHECK(run.wait() == 0);
  CHECK(now() - begin < kBound);
  check_nobody(run);
}

TEST_CASE("two runs at once do not disturb each other") {
  const std::vector<std::string> arguments{"-n", "2",  "--",
                                           "sh", "-c", "echo at $REGROUP_COORDINATOR; echo pid $$; exec sleep 1000"};
  Runner one(arguments), two(arguments);
  REQUIRE(one.wait_for("pid ", 2));
  REQUIRE(two.wait_for("pid ", 2));
  const auto address = [](const Runner& run) { return run.output().substr(run.output().find("at "), 25); };
  CHECK(address(one).substr(0, address(one).find('\n')) != address(two).substr(0, address(two).find('\n')));
  one.send(SIGTERM);
  CHECK(one.wait() == 128 + SIGTERM);
  for (const pid_t pid : two.pids()) CHECK(exists(pid));
  two.send(SIGTERM);
  CHECK(two.wait() == 128 + SIGTERM);
  check_nobody(one), check_nobody(two);
}

// `regroup run` with real processes: output, exit status, restarts, the environment of a rank.
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>

#include "tests/launch/run_helper.h"

using namespace launch_test;

TEST_CASE("every rank's lines come with its prefix, and the run ends with 0") {
  const Ended e =
      run_script({"-n", "3"}, "echo hello from $REGROUP_RANK of $WORLD_SIZE; echo wrong >&2; printf 'no newline'");
  CHECK(e.status == 0);
  for (int i = 0; i < 3; ++i) {
    const std::string prefix = "[" + std::to_string(i) + "] ";
    CHECK(has(e.output, prefix + "hello from " + std::to_string(i) + " of 3\n"));
    CHECK(has(e.output, prefix + "wrong\n"));
    CHECK(has(e.output, prefix + "no newline\n"));
  }
}

TEST_CASE("lines of many ranks mix, but none is cut, and none is lost") {
  const Ended e = run_script({"-n", "4"}, "i=0; while [ $i -lt 2000 ]; do echo line $i of $RANK; i=$((i+1)); done");
  CHECK(e.status == 0);
  CHECK(count_of(e.output, "\n") == 8000);
  for (int rank = 0; rank < 4; ++rank) {
    std::size_t at = 0;
    for (int i = 0; i < 2000 && at != std::string::npos; ++i) {
      const std::string r = std::to_string(rank);
      at = e.output.find("[" + r + "] line " + std::to_string(i) + " of " + r + "\n", at);
    }
    CHECK(at != std::string::npos);
  }
}

TEST_CASE("without prefix the output is forwarded as it is") {
  CHECK(run_script({"-n", "1", "--no-prefix"}, "echo plain").output == "plain\n");
}

TEST_CASE("a rank is told who it is, who coordinates, and nothing of the launcher's signal handling") {
  const int inherited[] = {SIGQUIT, SIGXFSZ, SIGUSR2};  // as behind a shell's '&' or below Python
  for (int number : inherited) std::signal(number, SIG_IGN);
  const Ended e =
      run_script({"-n", "2", "--group", "g7", "--transport", "tcp"},
                 "echo r=$REGROUP_RANK,$RANK,$LOCAL_RANK w=$REGROUP_WORLD_SIZE,$WORLD_SIZE,$LOCAL_WORLD_SIZE "
                 "l=$REGROUP_LAUNCHER g=$REGROUP_GROUP t=$REGROUP_TRANSPORT; echo c=$REGROUP_COORDINATOR; "
                 "[ -e /proc/self/fd/$REGROUP_DEATH_FD ] && echo table; cat; "
                 "grep -E 'Sig(Ign|Blk)' /proc/self/status");
  for (int number : inherited) std::signal(number, SIG_DFL);
  CHECK(e.status == 0);
  CHECK(has(e.output, "[1] r=1,1,1 w=2,2,2 l=1 g=g7 t=tcp\n"));
  CHECK(count_of(e.output, "c=127.0.0.1:") == 2);
  CHECK(count_of(e.output, "table") == 2);
  // Neither blocked nor ignored: SIGPIPE ends a rank, SIGTERM reaches it. 32 and 33 are the C library's own; its
  // posix_spawn (make uses it) leaves them ignored, and nobody can send them by its functions.
  constexpr unsigned long long kInternal = 3ull << 31;
  CHECK(count_of(e.output, "Sig") == 4);
  for (std::size_t at = e.output.find("Sig"); at != std::string::npos; at = e.output.find("Sig", at + 1))
    CHECK((std::stoull(e.output.substr(at + 7), nullptr, 16) & ~kInternal) == 0);
}

TEST_CASE("the first failing status is the run's") {
  CHECK(run_script({"-n", "2"}, "exit $((REGROUP_RANK * 7))").status == 7);
  // Rank 1 waits for the end of rank 0, so it is the second to fail.
  const Ended e = run_script({"-n", "2"},
                             "if [ $RANK = 0 ]; then echo $$ > $WORK/pid; kill -TERM $$; fi; "
                             "while [ ! -s $WORK/pid ] || kill -0 $(cat $WORK/pid) 2>/dev/null; do :; done; exit 5");
  CHECK(e.status == 128 + 15);
}

TEST_CASE("a rank that died is started again, one that ended well is not") {
  const Ended e =
      run_script({"-n", "2", "--restart"},
                 "echo life; if [ $RANK = 1 ] && [ ! -e $WORK/mark ]; then touch $WORK/mark; kill -9 $$; fi");
  CHECK(e.status == 0);
  CHECK(count_of(e.output, "[0] life") == 1);
  CHECK(count_of(e.output, "[1] life") == 2);
  CHECK(has(e.output, "rank 1 died by SIGKILL; starts again"));
}

TEST_CASE("without --restart the dead stay dead and the others end by themselves") {
  const Ended e = run_script({"-n", "2"}, "[ $RANK = 0 ] && kill -9 $$; echo alive");
  CHECK(e.status == 128 + 9);
  CHECK(has(e.output, "[1] alive"));
  CHECK_FALSE(has(e.output, "[0] alive"));
}

TEST_CASE("restarts are bounded, and then the last status stands") {
  const Ended e = run_script({"-n", "1", "--restart", "--max-restarts", "3"}, "echo life; exit 9");
  CHECK(e.status == 9);
  CHECK(count_of(e.output, "[0] life") == 4);
}

TEST_CASE("a rank is started again only after the delay") {
  const Ended e = run_script({"-n", "1", "--restart", "--restart-delay-ms", "200"},
                             "[ -e $WORK/mark ] && exit 0; touch $WORK/mark; exit 1");
  CHECK(e.status == 0);
  std::int64_t exit_ns = 0, start_ns = 0;
  for (const Json& j : e.events) {
    if (j.at("event") == "exit" && exit_ns == 0) exit_ns = j.at("time_ns");
    if (j.at("event") == "start") start_ns = j.at("time_ns");
  }
  CHECK(start_ns - exit_ns >= 200'000'000);
}

TEST_CASE("a program that cannot be run, and a run that makes no sense, are errors that say so") {
  Runner missing({"-n", "1", "--", "/does/not/exist"});
  CHECK(missing.wait() == 2);
  CHECK(has(missing.output(), "/does/not/exist"));
  CHECK_FALSE(missing.left_files());

  const auto refused = [](std::vector<std::string> arguments, const std::string& why) {
    Runner run(std::move(arguments));
    CHECK(run.wait() != 0);
    INFO(run.output());
    CHECK(has(run.output(), why));
  };
  refused({"-n", "2", "--chaos", "kill:5@step:1", "--", "true"}, "there is no rank 5");
  refused({"-n", "2", "--chaos", "kill:coordinator@time:1s", "--coordinator", "127.0.0.1:1", "--", "true"},
          "--coordinator");
  refused({"-n", "0", "--", "true"}, "--ranks");
  refused({"-n", "2"}, "no program");
  refused({"-n", "1", "--listen", "nowhere", "--", "true"}, "nowhere");
  const std::string no_events =
      bin("regroup") + " run -n 1 --events /does/not/exist -- true 2>&1 | grep -q /does/not/exist";
  CHECK(std::system(no_events.c_str()) == 0);
}

TEST_CASE("the output of a rank that nobody reads any more does not end the run") {
  // The reader (head) leaves after a line; the launcher goes on to the end and says how it was.
  Runner run({"-n", "1", "--", "true"});
  CHECK(run.wait() == 0);
  const std::string command =
      bin("regroup") + " run -n 1 --events " + run.folder() +
      "/inner -- sh -c 'i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done' | head -n 1";
  CHECK(std::system(("exec >/dev/null; " + command).c_str()) == 0);
  CHECK(std::system(("tail -n 1 " + run.folder() + "/inner | grep -q '\"status\":0'").c_str()) == 0);
}

// `regroup run` with real processes: exit status, restart, output, nobody left behind.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace {

struct Ended {
  int status;
  std::string output;
};

Ended run(const std::string& arguments) {
  const char* bin = std::getenv("REGROUP_TEST_BIN_DIR");
  const std::string command = "timeout 60 " + std::string(bin ? bin : "build/bin") + "/regroup run " + arguments + " 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Ended ended;
  std::array<char, 4096> part;
  for (std::size_t n; (n = std::fread(part.data(), 1, part.size(), pipe)) > 0;) ended.output.append(part.data(), n);
  ended.status = WEXITSTATUS(::pclose(pipe));
  return ended;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string bin_dir() {
  const char* bin = std::getenv("REGROUP_TEST_BIN_DIR");
  return bin ? bin : "build/bin";
}

}  // namespace

TEST_CASE("every rank's lines come with its prefix, and the run ends with 0") {
  const Ended e = run("-n 3 -- sh -c 'echo hello from $REGROUP_RANK of $WORLD_SIZE'");
  CHECK(e.status == 0);
  for (int i = 0; i < 3; ++i) CHECK(has(e.output, "[" + std::to_string(i) + "] hello from " + std::to_string(i) + " of 3"));
}

TEST_CASE("the first failing status is the run's") { CHECK(run("-n 2 -- sh -c 'exit $((REGROUP_RANK * 7))'").status == 7); }

TEST_CASE("a rank that died is started again, one that ended well is not") {
  const std::string mark = (std::filesystem::temp_directory_path() / ("regroup-run-test-" + std::to_string(::getpid()))).string();
  const Ended e = run("-n 2 --restart --no-prefix -- sh -c 'echo life $REGROUP_RANK; if [ $REGROUP_RANK = 1 ] && [ ! -e " + mark +
                      " ]; then touch " + mark + "; kill -9 $$; fi'");
  std::filesystem::remove(mark);
  CHECK(e.status == 0);
  std::size_t lives = 0;
  for (std::size_t at = 0; (at = e.output.find("life 1", at)) != std::string::npos; ++at) ++lives;
  CHECK(lives == 2);
  CHECK(e.output.find("life 0") == e.output.rfind("life 0"));
}

TEST_CASE("a run that does not end is ended, with all its processes") {
  const Ended e = run("-n 2 --timeout 0.3 --no-prefix -- sh -c 'echo $$; exec tail -f /dev/null'");
  CHECK(e.status == 124);
  CHECK(has(e.output, "not over after"));
  const long pid = std::strtol(e.output.c_str(), nullptr, 10);
  REQUIRE(pid > 1);
  CHECK_FALSE(std::filesystem::exists("/proc/" + std::to_string(pid)));
}

TEST_CASE("a program that cannot be run is an error that names it") {
  const Ended e = run("-n 1 -- /does/not/exist");
  CHECK(e.status == 2);
  CHECK(has(e.output, "/does/not/exist"));
}

TEST_CASE("training goes on through a kill inside an op, and the killed replica ends with the others") {
  const Ended e = run("-n 3 --restart --chaos kill:1@failpoint:after_first_chunk#60 -- " + bin_dir() +
                      "/train_digits --steps 60 --report-every 0");
  INFO(e.output);
  CHECK(e.status == 0);
  for (int i = 0; i < 3; ++i) CHECK(has(e.output, "[" + std::to_string(i) + "] done: 60 steps"));
}

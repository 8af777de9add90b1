// All ranks of a run die at once: they are started again and go on from the newest checkpoint, with real processes.
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "tests/launch/run_helper.h"

using namespace launch_test;
namespace fs = std::filesystem;

namespace {

struct Life {
  std::uint64_t joined = 0;
  std::string joined_digest, final_digest;
  std::map<std::uint64_t, std::string> commits;
};
// The histories of the ranks, a list of lives each, oldest first. Lives that did a step: who is back before the coordinator goes
// with its log has heard of that log, is refused by the next one, and is started again.
std::map<int, std::vector<Life>> histories(const std::string& folder) {
  std::map<std::pair<int, long long>, Life> all;
  for (const auto& entry : fs::directory_iterator(folder)) {
    Life life;
    int rank = -1;
    long long at = 0;
    std::ifstream file(entry.path());
    for (std::string text; std::getline(file, text);) {
      const Json line = Json::parse(text, nullptr, false);
      if (line.is_discarded()) continue;  // cut off by the kill
      const std::string e = line["e"];
      if (e == "start") rank = line["replica"], at = line["t"];
      if (e == "join") life.joined = line["step"], life.joined_digest = line["digest"];
      if (e == "commit") life.commits[line["step"]] = line["digest"];
      if (e == "final") life.final_digest = line["digest"];
    }
    if (!life.commits.empty()) all[{rank, at}] = std::move(life);
  }
  std::map<int, std::vector<Life>> lives;
  for (auto& [key, life] : all) lives[key.first].push_back(std::move(life));
  return lives;
}

std::vector<std::string> arguments(const std::string& history, bool restart) {
  std::vector<std::string> a{"-n", "3"};
  if (restart) a.push_back("--restart");
  for (const std::string& s : {std::string("--"), bin("train_digits"), std::string("--steps"), std::string("400"), std::string("--history"), history})
    a.push_back(s);
  return a;
}

struct Checkpointing {  // for the processes that are started meanwhile
  explicit Checkpointing(const std::string& folder) {
    ::setenv("REGROUP_CHECKPOINT_DIR", folder.c_str(), 1);
    ::setenv("REGROUP_CHECKPOINT_EVERY", "10", 1);
  }
  ~Checkpointing() { ::unsetenv("REGROUP_CHECKPOINT_DIR"), ::unsetenv("REGROUP_CHECKPOINT_EVERY"); }
};

// At one instant: nobody is left to commit a step with fewer.
void kill_all(const std::vector<pid_t>& pids) {
  for (pid_t pid : pids) ::kill(pid, SIGSTOP);
  for (pid_t pid : pids) ::kill(pid, SIGKILL);
}

void check_resumed(const std::map<int, std::vector<Life>>& lives, const std::string& undisturbed) {
  REQUIRE(lives.size() == 3);
  const Life& first = lives.at(0)[0];
  for (const auto& [rank, list] : lives) {
    REQUIRE(list.size() == 2);
    CHECK(list[1].joined >= 10);
    CHECK(list[1].joined % 10 == 0);
    CHECK(list[1].joined == lives.at(0)[1].joined);
    CHECK(list[1].joined_digest == first.commits.at(list[1].joined));
    CHECK(list[1].final_digest == undisturbed);
  }
}

}  // namespace

TEST_CASE("all ranks are killed at once: they go on from the newest checkpoint, and end with the bits of an undisturbed run") {
  TempDir folder;
  std::string undisturbed;
  {
    Runner run(arguments(folder.path + "/calm", false));
    REQUIRE(run.wait() == 0);
    undisturbed = histories(folder.path + "/calm").at(0)[0].final_digest;
    REQUIRE(!undisturbed.empty());
  }
  const Checkpointing checkpoints(folder.path + "/checkpoints");
  SECTION("the launcher starts them again") {
    Runner run(arguments(folder.path + "/killed", true));
    REQUIRE(run.wait_for("step 100 "));
    kill_all(run.pids());
    CHECK(run.wait() == 0);
    CHECK(!run.events("coordinator_exit").empty());
    check_resumed(histories(folder.path + "/killed"), undisturbed);
  }
  SECTION("the whole run is gone, and a new one begins") {
    {
      Runner run(arguments(folder.path + "/killed", false));
      REQUIRE(run.wait_for("step 100 "));
      kill_all(run.pids());
      CHECK(run.wait() != 0);
    }
    Runner again(arguments(folder.path + "/killed", false));
    CHECK(again.wait() == 0);
    check_resumed(histories(folder.path + "/killed"), undisturbed);
  }
}

#include "bench/ranks.h"

#include <poll.h>

#include <cstdio>
#include <cstdlib>

#include "bench/clock.h"
#include "bench/failure/board.h"
#include "bench/interrupt.h"
#include "bench/processes.h"

namespace regroup::bench {
namespace {

constexpr const char* kStartedRank = "REGROUP_BENCH_STARTED_RANK";
constexpr double kGraceS = 5;  // of the others when one has failed

struct Rank {
  pid_t pid;
  bool running;
};

// Waits until all have ended, or the grace after a failure or a signal is over. The number that did not end well.
int wait_for(const std::string& program, std::vector<Rank>& ranks, const Board& board) {
  int failed = 0;
  std::size_t running = ranks.size();
  double until = 0;  // 0: nothing has gone wrong yet
  while (running > 0 && (until == 0 || now_s() < until)) {
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      bool well = false;
      if (!ranks[r].running) continue;
      const auto how = ended(ranks[r].pid, well);
      if (!how) continue;
      ranks[r].running = false;
      --running;
      if (well) continue;
      ++failed;
      std::fprintf(stderr, "%s: rank %zu failed: %s\n", program.c_str(), r, how->c_str());
      if (until == 0) until = now_s() + kGraceS;
    }
    if (interrupted() != 0 && until == 0) until = now_s() + 1;
    ::poll(nullptr, 0, 5);
  }
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (!ranks[r].running) continue;
    if (interrupted() == 0) {
      const bool came = board.ranks[r].came.load() != 0;
      std::fprintf(stderr, "%s: error: rank %zu %s: it is ended\n", program.c_str(), r,
                   came ? "did not end" : "never came");
    }
    end_process(ranks[r].pid);
    ++failed;
  }
  return failed;
}

}  // namespace

bool is_started_rank() { return std::getenv(kStartedRank) != nullptr; }

int run_ranks(const std::string& program, int ranks, const std::vector<std::string>& command) {
  watch_interrupts();
  TemporaryFolder folder;
  if (folder.path().empty()) {
    std::fprintf(stderr, "%s: error: no temporary folder can be made (TMPDIR)\n", program.c_str());
    return 1;
  }
  BoardOwner board;
  if (board.get() == nullptr) {
    std::fprintf(stderr, "%s: error: the board of the ranks cannot be made\n", program.c_str());
    return 1;
  }
  CoordinatorProcess coordinator;
  if (Status status = coordinator.start(folder.path()); !status.ok()) {
    std::fprintf(stderr, "%s: error: %s\n", program.c_str(), status.error().detail.c_str());
    return 1;
  }
  std::vector<std::string> rank_command = command;
  rank_command[0] = program_folder() + "/" + program;
  std::vector<Rank> started;
  for (int r = 0; r < ranks; ++r) {
    auto pid = start_process(rank_command,
                             {{"REGROUP_COORDINATOR", coordinator.address()},
                              {"REGROUP_RANK", std::to_string(r)},
                              {"REGROUP_WORLD_SIZE", std::to_string(ranks)},
                              {kBoardVariable, std::to_string(board.fd())},
                              {kStartedRank, "1"}},
                             "");
    if (!pid.ok()) {
      std::fprintf(stderr, "%s: error: rank %d: %s\n", program.c_str(), r, pid.error().detail.c_str());
      for (const Rank& rank : started) end_process(rank.pid);
      return 1;
    }
    started.push_back({*pid, true});
  }
  const int failed = wait_for(program, started, *board.get());
  return failed == 0 && interrupted() == 0 ? 0 : 1;
}

}  // namespace regroup::bench

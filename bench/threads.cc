#include "bench/threads.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "bench/clock.h"
#include "bench/interrupt.h"
#include "bench/memory.h"
#include "bench/processes.h"

namespace regroup::bench {
namespace {

constexpr double kGraceS = 5;        // of the others when one has failed
constexpr double kInterruptedS = 1;  // of all, after a signal

struct Rank {
  ThreadRank given;
  std::atomic<int> status{-1};  // -1: it runs
  std::thread thread;
};

// False: a rank did not end within the grace after a failure or a signal.
bool all_end(const std::vector<std::unique_ptr<Rank>>& ranks) {
  for (double until = 0; until == 0 || now_s() < until; ::poll(nullptr, 0, 2)) {
    bool running = false, failed = interrupted() != 0;
    for (const auto& rank : ranks) {
      running = running || rank->status.load() < 0;
      failed = failed || rank->status.load() > 0;
    }
    if (!running) return true;
    if (failed && until == 0) until = now_s() + (interrupted() != 0 ? kInterruptedS : kGraceS);
  }
  return false;
}

}  // namespace

int run_threads(const std::string& program, int threads, bool probe, const std::function<int(const ThreadRank&)>& rank) {
  watch_interrupts();
  const auto fail = [&](const std::string& what) {
    std::fprintf(stderr, "%s: error: %s\n", program.c_str(), what.c_str());
    return 1;
  };
  std::unique_ptr<Probe> prober;
  if (probe) prober = std::make_unique<Probe>();  // forks: before there are threads
  auto options = Options::from_environment();
  if (!options.ok()) return fail(options.error().detail);
  std::optional<TemporaryFolder> folder(std::in_place);
  if (folder->path().empty()) return fail("no temporary folder can be made (TMPDIR)");
  std::optional<CoordinatorProcess> coordinator(std::in_place);
  if (Status status = coordinator->start(folder->path()); !status.ok()) return fail(status.error().detail);
  options->coordinator = coordinator->address();
  options->world_size = threads;
  const std::size_t before_bytes = resident_share_bytes();
  std::vector<std::unique_ptr<Rank>> ranks;
  for (int r = 0; r < threads; ++r) {
    Rank& each = *ranks.emplace_back(std::make_unique<Rank>());
    each.given = {*options, r == 0 ? prober.get() : nullptr, before_bytes};
    each.given.options.rank = r;
    each.thread = std::thread([&each, &rank] { each.status.store(rank(each.given)); });
  }
  if (!all_end(ranks)) {
    for (std::size_t r = 0; r < ranks.size(); ++r)
      if (ranks[r]->status.load() < 0) std::fprintf(stderr, "%s: error: rank %zu did not end\n", program.c_str(), r);
    coordinator.reset();
    folder.reset();
    std::fflush(stdout);
    ::_exit(1);
  }
  int failed = 0;
  for (const auto& each : ranks) {
    each->thread.join();
    failed += each->status.load() != 0;
  }
  return failed == 0 && interrupted() == 0 ? 0 : 1;
}

}  // namespace regroup::bench

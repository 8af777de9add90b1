// recovery_perf: SIGKILL (or SIGSTOP) at random moments of an all-reduce loop, and how long until the last survivor's
// first commit in a view without the victim. Every result is checked bit for bit; exit status 0 only if all kills were
// made, no step was lost and nothing was wrong.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "bench/probe.h"
#include "bench/recovery/arguments.h"
#include "bench/recovery/experiment.h"
#include "bench/recovery/fleet.h"
#include "bench/recovery/member.h"
#include "bench/recovery/report.h"
#include "bench/report.h"
#include "bench/stats.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

// A live line on a terminal, a line every twentieth kill elsewhere.
void show_progress(int kills, const RecoveryResult& result) {
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  if (!terminal && result.kills % 20 != 0 && result.kills != kills) return;
  std::printf("%skill %d of %d: last %.2f ms, p50 %.2f ms, max %.2f ms, rejoin %.0f ms%s", terminal ? "\r" : "",
              result.kills, kills, result.kill_to_commit_ms.back(), percentile(result.kill_to_commit_ms, 50),
              percentile(result.kill_to_commit_ms, 100), result.rejoin_ms.back(),
              terminal && result.kills < kills ? "   " : "\n");
  std::fflush(stdout);
}

int run(const RecoveryArguments& arguments) {
  Probe probe;  // forks: before anything else is there
  MachineFacts facts = machine_facts();
  facts.probe_before_us = probe.measure_us();
  Status status;
  bool written = true;
  std::uint64_t bad = 0;
  {
    Fleet fleet;
    Experiment experiment(arguments, fleet);
    status = fleet.start(arguments);
    if (status.ok()) status = experiment.run([&](const RecoveryResult& r) { show_progress(arguments.kills, r); });
    if (experiment.result().kills > 0) facts.huge_pages = fleet.huge_pages();
    if (!status.ok()) {
      std::fprintf(stderr, "recovery_perf: error: after %d kills: %s\n", experiment.result().kills,
                   status.error().detail.c_str());
    }
    facts.probe_after_us = probe.measure_us();
    std::fputs(recovery_text(arguments, facts, experiment.result(), experiment.ledger()).c_str(), stdout);
    if (!arguments.json.empty()) {
      auto name =
          write_new_file(arguments.json, recovery_json(arguments, facts, experiment.result(), experiment.ledger()));
      written = name.ok();
      if (!written) std::fprintf(stderr, "recovery_perf: error: %s\n", name.error().detail.c_str());
      if (written) std::printf("written: %s\n", name->c_str());
    }
    if (arguments.keep) std::printf("kept: %s\n", fleet.keep(experiment.result().kills_json).c_str());
    bad = experiment.ledger().lost_steps() + experiment.ledger().wrong_results();
    std::fflush(stdout);
  }
  return status.ok() && written && bad == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--member") == 0) return run_member(std::atoi(argv[2]));
  auto arguments = parse_recovery_arguments(argc, argv);
  if (!arguments.ok()) {
    std::fprintf(stderr, "recovery_perf: error: %s (--help lists the flags)\n", arguments.error().detail.c_str());
    return 2;
  }
  if (!arguments->help.empty()) {
    std::fputs(arguments->help.c_str(), stdout);
    return 0;
  }
  return run(*arguments);
}

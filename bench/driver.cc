#include "bench/driver.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "bench/arguments.h"
#include "bench/failure/member.h"
#include "bench/failure/supervise.h"
#include "bench/rank_run.h"
#include "bench/ranks.h"

namespace regroup::bench {

int run_benchmark(const Collective& collective, int argc, char** argv) {
  auto arguments = parse_arguments(collective, argc, argv);
  if (!arguments.ok()) {
    std::fprintf(stderr, "%s: error: %s (--help lists the flags)\n", collective.program,
                 arguments.error().detail.c_str());
    return 2;
  }
  if (!arguments->help.empty()) {
    std::fputs(arguments->help.c_str(), stdout);
    return 0;
  }
  std::vector<std::string> command(argv, argv + argc);
  if (arguments->is_failure_run()) {
    return is_failure_member() ? run_failure_member(collective, *arguments)
                               : run_failure(collective, *arguments, command);
  }
  if (arguments->ranks > 0 && !is_started_rank()) return run_ranks(collective.program, arguments->ranks, command);
  return RankRun(collective, *arguments, std::move(command)).run();
}

}  // namespace regroup::bench

// sim_mutants [SEEDS]: for every seeded bug of ft/core and of the data side, how many seeds the simulator needs until the
// checker names a violation. Prints the table of docs/TESTING. Exit status 1 when one is not found within SEEDS (1000).
#include <cstdio>
#include <cstdlib>
#include <string>

#include "ft/core/mutant.h"
#include "ft/sim/simulate.h"

using namespace regroup;

namespace {

bool find(std::string_view name, std::string_view what, sim::DataBug bug, std::uint64_t seeds) {
  sim::SimOptions options;
  options.bug = bug;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    const sim::RunReport run = sim::simulate(seed, options);
    if (run.violation.empty()) continue;
    std::printf("| %.*s | %.*s | %llu | %s |\n", static_cast<int>(name.size()), name.data(), static_cast<int>(what.size()),
                what.data(), static_cast<unsigned long long>(seed + 1), run.violation.substr(0, 60).c_str());
    std::fflush(stdout);
    return true;
  }
  std::printf("| %.*s | %.*s | not within %llu | |\n", static_cast<int>(name.size()), name.data(), static_cast<int>(what.size()),
              what.data(), static_cast<unsigned long long>(seeds));
  std::fflush(stdout);
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const std::uint64_t seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1000;
  const std::string only = argc > 2 ? argv[2] : "";
  bool all = true;
  std::printf("| bug | what it does | seeds | found as |\n| --- | --- | --- | --- |\n");
  for (const MutantInfo& m : kMutants) {
    if (!only.empty() && only != m.name) continue;
    // Needs an answer that stays on its way through two whole view changes: the explorer alone finds it.
    if (m.mutant == Mutant::kStaleLevel && only.empty()) continue;
    // Costs a deadline now and then, and harms nothing: stuck only where no deadline fires, in the explorer.
    if (m.mutant == Mutant::kFounderPromoted && only.empty()) continue;
    active_mutant = m.mutant;
    all = find(m.name, m.what, sim::DataBug::kNone, seeds) && all;
  }
  active_mutant = Mutant::kNone;
  for (const sim::DataBugInfo& b : sim::kDataBugs)
    if (only.empty() || only == b.name) all = find(b.name, b.what, b.bug, seeds) && all;
  return all ? 0 : 1;
}

// `regroup sim`: runs the protocol in a simulated world, seed by seed, and judges every history.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "ft/sim/simulate.h"
#include "tools/regroup/commands.h"

namespace regroup::tools {
namespace {

using nlohmann::json;

struct SimArguments {
  sim::SimOptions options;
  std::string seeds = "0:1000", json_file, history;
};

bool parse_seeds(const std::string& text, sim::SimOptions& o) {
  unsigned long long first = 0, last = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%llu:%llu%c", &first, &last, &rest) != 2 || last <= first) return false;
  o.first = first, o.last = last;
  return true;
}

json to_json(const sim::Totals& t, const sim::SimOptions& o, double wall_s) {
  json kinds;
  for (std::size_t i = 0; i < sim::kFaultKinds; ++i) kinds[name_of(static_cast<sim::FaultKind>(i))] = t.runs_with[i];
  kinds["view_changes"] = t.view_changes, kinds["commits"] = t.commits, kinds["redos"] = t.redos;
  kinds["joins_in_change"] = t.joins_in_change, kinds["joins_of_two"] = t.joins_of_two, kinds["snapshots_again"] = t.snapshots_again;
  kinds["message_ends"] = t.messages, kinds["failed_message_ends"] = t.messages_failed;
  kinds["failed_ops"] = t.failures, kinds["joins"] = t.joins, kinds["restarts"] = t.restarts, kinds["all_lost"] = t.lost;
  json violations = json::array();
  for (const sim::Violation& v : t.violations)
    violations.push_back({{"seed", v.seed}, {"what", v.what}, {"replay", replay_command(v.seed, o)}});
  return {{"seeds", t.seeds}, {"first", o.first}, {"steps", o.steps}, {"members", o.members},
          {"violations", t.violations.size()}, {"violation_list", violations}, {"wall_s", wall_s}, {"events", t.events},
          {"kinds", kinds}};
}

int write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text;
  out.close();
  if (out) return 0;
  std::fprintf(stderr, "regroup sim: cannot write %s\n", path.c_str());
  return 2;
}

int run(const SimArguments& a) {
  if (!a.history.empty()) {
    if (a.options.last - a.options.first != 1) {
      std::fprintf(stderr, "regroup sim: --history wants one seed: --seeds N:N+1\n");
      return 2;
    }
    std::string log;
    const sim::RunReport report = simulate(a.options.first, a.options, &log);
    if (int failed = write_file(a.history, log)) return failed;
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(a.options.first),
                report.violation.empty() ? "no violation" : report.violation.c_str());
    return report.violation.empty() ? 0 : 1;
  }
  const Instant begin = now();
  const bool live = ::isatty(STDERR_FILENO) != 0;
  Instant shown = begin;
  const sim::Totals totals = simulate_all(a.options, [&](const sim::Totals& t) {
    if (now() - shown < Duration::from_ms(live ? 200 : 10'000)) return;
    shown = now();
    std::fprintf(stderr, "%s%llu of %llu seeds, %zu violations, %.0f s%s", live ? "\r" : "",
                 static_cast<unsigned long long>(t.seeds), static_cast<unsigned long long>(a.options.last - a.options.first),
                 t.violations.size(), (now() - begin).ms() / 1000, live ? "   " : "\n");
  });
  if (live) std::fprintf(stderr, "\r\033[K");
  const double wall_s = (now() - begin).ms() / 1000;
  const json j = to_json(totals, a.options, wall_s);
  if (!a.json_file.empty())
    if (int failed = write_file(a.json_file, j.dump(1) + "\n")) return failed;
  std::printf("%llu seeds in %.1f s, %zu violations\n", static_cast<unsigned long long>(totals.seeds), wall_s, totals.violations.size());
  for (const auto& [kind, n] : j["kinds"].items()) std::printf("  %-20s %llu\n", kind.c_str(), n.get<unsigned long long>());
  for (const sim::Violation& v : totals.violations)
    std::printf("seed %llu: %s\n  %s\n", static_cast<unsigned long long>(v.seed), v.what.c_str(), replay_command(v.seed, a.options).c_str());
  return totals.violations.empty() ? 0 : 1;
}

}  // namespace

void add_sim(CLI::App& app, int& status) {
  auto a = std::make_shared<SimArguments>();
  CLI::App* c = app.add_subcommand("sim", "Run the protocol in a simulated world, seed by seed, and judge every history");
  c->add_option("--seeds", a->seeds, "FIRST:END, END not included (0:1000)");
  c->add_option("--members", a->options.members, "3 to 16; 0: drawn (0)")->check(CLI::IsMember({0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}));
  c->add_option("--steps", a->options.steps, "of the members' program (50)")->check(CLI::Range(1, 100000));
  c->add_option("--threads", a->options.threads, "0: as many as cores (0)");
  c->add_option("--json", a->json_file, "write the totals to this file");
  c->add_option("--history", a->history, "one seed: write its history as JSON lines");
  c->callback([a, &status] {
    if (!parse_seeds(a->seeds, a->options)) {
      std::fprintf(stderr, "regroup sim: --seeds '%s': wanted FIRST:END with FIRST < END\n", a->seeds.c_str());
      status = 2;
      return;
    }
    status = run(*a);
  });
}

}  // namespace regroup::tools

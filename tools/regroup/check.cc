// `regroup check HISTORY...`: judges histories against the guarantees: what `regroup sim --history` wrote, or the flight
// records of all ranks of a real run (REGROUP_TRACE_FILE; JSON lines), which are merged by time.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>

#include "ft/sim/checker.h"
#include "ft/sim/history_reader.h"
#include "tools/regroup/commands.h"

namespace regroup::tools {
namespace {

Status read(const std::string& path, std::uint32_t file, std::vector<sim::Record>& out) {
  std::ifstream in(path);
  if (!in) return {Code::kSystem, path + ": cannot be opened"};
  sim::HistoryReader reader(file);
  std::string line;
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    Result<std::optional<sim::Record>> record = reader.on(line);
    if (!record) return {record.code(), path + ":" + std::to_string(number) + ": " + record.error().detail};
    if (*record) out.push_back(**record);
  }
  return {};
}

int run(const std::vector<std::string>& files) {
  std::vector<sim::Record> records;
  for (std::uint32_t i = 0; i < files.size(); ++i)
    if (Status s = read(files[i], i, records); !s) {
      std::fprintf(stderr, "regroup check: %s\n", s.error().detail.c_str());
      return 2;
    }
  std::stable_sort(records.begin(), records.end(), [](auto& a, auto& b) { return a.time_ns < b.time_ns; });
  sim::Checker checker;
  int violations = 0;
  for (const sim::Record& r : records)
    if (std::string wrong = checker.on(r); !wrong.empty()) {
      std::printf("%lld ns: %s\n", static_cast<long long>(r.time_ns), wrong.c_str());
      if (++violations == 20) break;  // what follows a first violation says little
    }
  const sim::Checker::Totals& t = checker.totals();
  std::printf("%zu records, %llu commits, %llu failed ops, %llu installs: %d violation%s\n", records.size(),
              static_cast<unsigned long long>(t.commits), static_cast<unsigned long long>(t.failures),
              static_cast<unsigned long long>(t.installs), violations, violations == 1 ? "" : "s");
  return violations == 0 ? 0 : 1;
}

}  // namespace

void add_check(CLI::App& app, int& status) {
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* c = app.add_subcommand("check", "Judge histories, simulated or real, against the protocol's guarantees");
  c->add_option("history", *files, "JSON lines: one file of `regroup sim --history`, or the flight records of all ranks of one run")->required();
  c->callback([files, &status] { status = run(*files); });
}

}  // namespace regroup::tools

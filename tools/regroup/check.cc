// `regroup check HISTORY...`: judges histories against the guarantees: what `regroup sim --history` wrote, or the flight
// records of all ranks of a real run (REGROUP_TRACE_FILE; JSON lines), which are merged by time.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "ft/sim/checker.h"
#include "tools/regroup/commands.h"

namespace regroup::tools {
namespace {

using nlohmann::json;

std::optional<sim::What> what_of(const std::string& name) {
  for (int i = 0; i < static_cast<int>(sim::What::kCount); ++i)
    if (name == sim::name_of(static_cast<sim::What>(i))) return static_cast<sim::What>(i);
  return std::nullopt;  // an event that the checker has no use for
}

// One file: a life of its own where its lines do not say whose they are (a flight record is one process's).
Status read(const std::string& path, std::uint32_t file, std::vector<sim::Record>& out) {
  std::ifstream in(path);
  if (!in) return {Code::kSystem, path + ": cannot be opened"};
  std::string line;
  std::uint32_t life = file << 16;  // a flight record goes on with another life when one is over
  for (std::size_t number = 1; std::getline(in, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    const json j = json::parse(line, nullptr, false);
    if (!j.is_object()) return {Code::kInvalid, path + ":" + std::to_string(number) + ": not a JSON object"};
    const std::optional<sim::What> what = what_of(j.value("event", ""));
    if (!what) continue;
    sim::Record r;
    r.what = *what;
    r.time_ns = j.value("time_ns", std::int64_t{0});
    r.life = j.value("life", life);
    r.replica = j.value("replica", file);
    r.op = j.value("op", OpId{0});
    r.epoch = j.value("epoch", Epoch{0});
    r.log = j.value("log", LogId{0});
    r.mark = j.value("mark", 1) != 0;
    r.planned = j.value("planned", 0) != 0;
    r.untouched = j.value("untouched", 1) != 0;
    r.code = static_cast<Code>(j.value("code", 0));
    r.prev = j.value("prev", Epoch{0});
    r.high = j.value("high", OpId{0});
    r.decision = j.value("decision", std::uint64_t{0});
    r.contributors = j.value("contributors", std::uint64_t{0});
    r.divisor = j.value("divisor", 0u);
    r.value = {j.value("counts", std::uint64_t{0}), j.value("tag", std::uint64_t{0})};
    r.expected = {j.value("expected_counts", std::uint64_t{0}), j.value("expected_tag", std::uint64_t{0})};
    r.state = j.value("state", std::uint64_t{0});
    out.push_back(r);
    if (*what == sim::What::kEnded && !j.contains("life")) ++life;
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

#include "examples/digits_demo/records.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace digits {
namespace {

using nlohmann::json;

void add(Life& life, const json& j) {
  const std::string event = j.value("e", "");
  life.last = j.value("t", std::int64_t{0});
  if (life.begin == 0) life.begin = life.last;
  life.records.push_back(life.last);
  if (event == "start") life.replica = j.value("replica", -1);
  if (event == "commit") {
    Commit c;
    c.step = j.value("step", std::uint64_t{0});
    c.epoch = j.value("epoch", std::uint64_t{0});
    c.members = j.value("members", std::vector<int>{});
    c.attempts = j.value("attempts", 1u);
    c.digest = j.value("digest", "");
    c.t = life.last;
    life.commits.push_back(std::move(c));
  }
  if (event == "join" || event == "restored")
    life.entries.push_back({event == "restored", j.value("step", std::uint64_t{0}), j.value("epoch", std::uint64_t{0}), life.last});
  if (event == "final") {
    life.final = true;
    life.final_step = j.value("step", std::uint64_t{0});
    life.final_digest = j.value("digest", "");
    life.accuracy = j.value("accuracy", 0.0);
  }
  if (event == "left") life.left = true;
}

void add(RunRecord& run, const json& j) {
  if (j.value("event", "") != "fault" || j.value("rank", -1) < 0) return;
  FaultSeen fault;
  fault.replica = j.value("rank", -1);
  fault.kill = j.value("kind", "") == "kill";
  fault.text = j.value("fault", "");
  fault.mid_op = fault.text.find("failpoint:") != std::string::npos;
  fault.t = j.value("time_ns", std::int64_t{0});
  run.faults.push_back(std::move(fault));
}

template <class F>
void each_line(const std::filesystem::path& path, F f) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (const json j = json::parse(line, nullptr, false); j.is_object()) f(j);
}

}  // namespace

regroup::Result<RunRecord> read_run(const std::string& folder) {
  RunRecord run;
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = file.path().filename().string();
    if (name == "events.jsonl") each_line(file.path(), [&](const json& j) { add(run, j); });
    if (!name.starts_with("replica")) continue;
    Life life;
    each_line(file.path(), [&](const json& j) { add(life, j); });
    if (life.replica >= 0) run.lives.push_back(std::move(life));
  }
  if (error) return {regroup::Code::kSystem, "cannot read " + folder + ": " + error.message()};
  std::sort(run.lives.begin(), run.lives.end(), [](auto& a, auto& b) { return a.begin < b.begin; });
  std::sort(run.faults.begin(), run.faults.end(), [](auto& a, auto& b) { return a.t < b.t; });
  return run;
}

}  // namespace digits

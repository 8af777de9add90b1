// The JSON of -J, and the files it goes to; the children that a benchmark starts.
#include "bench/report.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "bench/clock.h"
#include "bench/probe.h"
#include "bench/processes.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

Row sample_row() {
  Row row;
  row.bytes = 1024;
  row.count = 256;
  row.type = "float";
  row.redop = "sum";
  row.out_of_place = make_side(summarize({1, 2, 9}), 1024, 1.5);
  row.out_of_place.checked = true;
  row.in_place = make_side(summarize({4}), 1024, 1.5);
  row.probe_before_us = 0.07;
  row.probe_after_us = 0.3;
  return row;
}

// Waits at most five seconds for a child to end.
std::optional<std::string> wait_for_end(pid_t pid, bool& well) {
  const double until = now_s() + 5;
  std::optional<std::string> how;
  while (!how && now_s() < until) how = ended(pid, well);
  return how;
}

}  // namespace

TEST_CASE("the report has nccl-tests' keys, with booleans as strings, and ours") {
  RunInfo info;
  info.program = "all_reduce_perf";
  info.command = {"all_reduce_perf", "-b", "1K"};
  info.ranks = 4;
  info.transport = "shm";
  Arguments arguments;
  arguments.registered = true;
  const auto json = nlohmann::json::parse(report_json(info, arguments, {sample_row()}, {0, 0.75}, true));
  const auto& row = json.at("results").at(0);
  CHECK(row.at("size") == 1024);
  CHECK(row.at("count") == 256);
  CHECK(row.at("type") == "float");
  CHECK(row.at("redop") == "sum");
  CHECK(row.at("root") == "-1");
  CHECK(row.at("out_of_place").at("time") == 2);
  CHECK(row.at("out_of_place").at("alg_bw") == Approx(0.512));
  CHECK(row.at("out_of_place").at("bus_bw") == Approx(0.768));
  CHECK(row.at("out_of_place").at("nwrong") == 0);
  CHECK(row.at("out_of_place").at("min") == 1);
  CHECK(row.at("out_of_place").at("max") == 9);
  CHECK(row.at("in_place").at("nwrong").is_null());
  CHECK(row.at("ranks") == 4);
  CHECK(row.at("transport") == "shm");
  CHECK(row.at("registered") == "true");
  CHECK(row.at("probe_us") == nlohmann::json({0.07, 0.3}));
  CHECK(row.at("probe") == "mixed");
  CHECK(json.at("out_of_bounds") == nlohmann::json({{"count", 0}, {"okay", "true"}}));
  CHECK(json.at("average_bus_bandwidth").at("okay") == "true");
  CHECK(json.at("config").at("commit_rule") == "true");
}

TEST_CASE("wrong values and a side that was not run show in the report") {
  Row row = sample_row();
  row.out_of_place = {};
  const auto json = nlohmann::json::parse(report_json({}, {}, {row}, {7, 0}, false));
  CHECK(json.at("results").at(0).at("out_of_place").is_null());
  CHECK(json.at("out_of_bounds") == nlohmann::json({{"count", 7}, {"okay", "false"}}));
  CHECK(json.at("average_bus_bandwidth").at("okay") == "false");
}

TEST_CASE("an existing file is not overwritten but gets a suffix") {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/r.json";
  CHECK(*write_new_file(path, "first") == path);
  CHECK(*write_new_file(path, "second") == path + ".0");
  CHECK(*write_new_file(path, "third") == path + ".1");
  CHECK(text_of(path) == "first");
  CHECK(text_of(path + ".1") == "third");
}

TEST_CASE("a file that cannot be made is an error that names it") {
  auto name = write_new_file("/proc/none/r.json", "x");
  REQUIRE_FALSE(name.ok());
  CHECK(name.code() == Code::kSystem);
  CHECK(name.error().detail.find("/proc/none/r.json") != std::string::npos);
}

TEST_CASE("a temporary folder goes with its object unless it is kept") {
  std::string gone, kept;
  {
    TemporaryFolder a, b;
    gone = a.path();
    kept = b.path();
    b.keep();
    REQUIRE(std::filesystem::exists(gone));
  }
  CHECK_FALSE(std::filesystem::exists(gone));
  CHECK(std::filesystem::exists(kept));
  std::filesystem::remove_all(kept);
}

TEST_CASE("a child gets its variables, and how it ended is told") {
  TemporaryFolder folder;
  const std::string out = folder.path() + "/out";
  auto pid = start_process({"/bin/sh", "-c", "echo rank=$REGROUP_RANK; exit 3"}, {{"REGROUP_RANK", "5"}}, out);
  REQUIRE(pid.ok());
  bool well = true;
  CHECK(wait_for_end(*pid, well).value_or("still running") == "exit status 3");
  CHECK_FALSE(well);
  CHECK(tail_of(out) == "rank=5");
}

TEST_CASE("a program that is not there is an error that names it") {
  auto pid = start_process({"/nowhere/at-all"}, {}, "");
  REQUIRE_FALSE(pid.ok());
  CHECK(pid.error().detail.find("/nowhere/at-all") != std::string::npos);
}

TEST_CASE("a child that sleeps is ended at once") {
  auto pid = start_process({"/bin/sleep", "600"}, {}, "");
  REQUIRE(pid.ok());
  end_process(*pid);
  bool well = true;
  CHECK(ended(*pid, well).value_or("") == "unknown");  // reaped already
}

TEST_CASE("the probe measures a barrier of two processes again and again") {
  Probe probe;
  for (int i = 0; i < 2; ++i) {
    const double us = probe.measure_us();
    CHECK(us > 0);
    CHECK(us < 1e6);
  }
}

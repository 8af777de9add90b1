#include "bench/report.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>

#include "bench/roofline.h"
#include "bench/text.h"

namespace regroup::bench {
namespace {

constexpr double kMinBandwidthShare = 0.9;  // of NCCL_TESTS_MIN_BW, as in nccl-tests

using Json = nlohmann::ordered_json;

const char* text_of(bool value) { return value ? "true" : "false"; }

Json side_json(const Side& side) {
  if (side.time_us.count == 0) return nullptr;  // not run
  Json out;
  out["time"] = side.time_us.median;
  out["alg_bw"] = side.alg_bw;
  out["bus_bw"] = side.bus_bw;
  out["nwrong"] = side.checked ? Json(side.wrong) : Json(nullptr);
  out["median"] = side.time_us.median;
  out["min"] = side.time_us.min;
  out["max"] = side.time_us.max;
  out["iterations"] = side.iterations;
  return out;
}

Json shares_json(const Row& row, std::size_t ranks, const Side& side) {
  const auto shares = traffic_shares(row.copy_gbs, ranks, row.bytes, side.time_us.median);
  Json out;
  for (std::size_t i = 0; i < shares.size(); ++i) out[kTrafficBounds[i].name] = shares[i];
  return out;
}

int gpus_of(const Arguments& a) { return a.device.starts_with("cuda:") ? 1 : 0; }

std::string buffers_text(const Arguments& a, const RunInfo& info) {
  if (!info.device.empty()) return "on " + info.device;
  return std::string(a.registered ? "registered" : "private") + (info.huge_pages ? " (2 MiB pages)" : "");
}

}  // namespace

std::string report_json(const RunInfo& info, const Arguments& a, const std::vector<Row>& rows, const Totals& totals,
                        bool bandwidth_okay) {
  Json out;
  out["version"] = 2;
  out["start_time"] = info.start_time;
  out["args"] = info.command;
  Json& config = out["config"];
  config["nthreads"] = std::max(a.threads, 1);
  config["ngpus"] = gpus_of(a);
  config["minimum_bytes"] = a.min_bytes;
  config["maximum_bytes"] = a.max_bytes;
  if (a.step_factor > 1) {
    config["step_factor"] = a.step_factor;
  } else {
    config["step_bytes"] = a.step_bytes;
  }
  config["warmup_iters"] = a.warmup;
  config["iterations"] = a.iterations;
  config["agg_iterations"] = a.aggregate;
  config["validation"] = a.checks;
  config["blocking_collectives"] = text_of(a.blocking != 0);
  config["commit_rule"] = text_of(!a.no_commit);
  config["repetitions"] = a.repetitions;
  config["output_scratch"] = text_of(a.output_scratch);
  config["huge_pages"] = text_of(info.huge_pages);
  out["results"] = Json::array();
  for (const Row& row : rows) {
    Json item;
    item["size"] = row.bytes;
    item["count"] = row.count;
    item["type"] = row.type;
    item["redop"] = row.redop;
    item["root"] = std::to_string(row.root);
    for (auto [name, side] : {std::pair{"out_of_place", &row.out_of_place}, {"in_place", &row.in_place}}) {
      item[name] = side_json(*side);
      if (row.copy_gbs > 0 && side->time_us.count > 0) item[name]["traffic_share"] = shares_json(row, info.ranks, *side);
    }
    if (row.copy_gbs > 0) item["copy_gbs"] = row.copy_gbs;
    item["experiment_name"] = info.program;
    item["ranks"] = info.ranks;
    item["transport"] = info.transport;
    item["registered"] = text_of(a.registered);
    if (!info.device.empty()) item["device"] = info.device;
    if (a.cut_bytes > 0) item["cut"] = a.cut_bytes;
    if (a.cut_bytes > 0) item["grouped"] = text_of(a.grouped);
    item["plan"] = row.plan;
    if (!row.churn && info.device.empty()) item["runtime_mib"] = row.runtime_bytes / (1 << 20);
    item["probe_us"] = {row.probe_before_us, row.probe_after_us};
    item["probe"] = probe_state(row.probe_before_us, row.probe_after_us);
    if (row.churn) {
      item["live"] = row.churn->live;
      item["epoch"] = row.churn->epoch;
      item["t_recover_ms"] = row.churn->recover_ms < 0 ? Json(nullptr) : Json(row.churn->recover_ms);
    }
    out["results"].push_back(std::move(item));
  }
  out["out_of_bounds"] = {{"count", totals.wrong}, {"okay", text_of(totals.wrong == 0)}};
  out["average_bus_bandwidth"] = {{"bandwidth", totals.average_bus_bw}, {"okay", text_of(bandwidth_okay)}};
  out["end_time"] = info.end_time;
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

void print_heading(const Arguments& a, const RunInfo& info) {
  std::printf("# regroup: %s (the table is that of nccl-tests)\n# Collective test starting: %s\n", info.program.c_str(),
              info.program.c_str());
  const bool factor = a.step_factor > 1;
  std::printf(
      "# nThread %d nGpus %d minBytes %zu maxBytes %zu step: %g(%s) warmup iters: %d iters: %d agg iters: %d "
      "validation: %d graph: 0\n#\n",
      std::max(a.threads, 1), gpus_of(a), a.min_bytes, a.max_bytes, factor ? a.step_factor : static_cast<double>(a.step_bytes), factor ? "factor" : "bytes",
      a.warmup, a.iterations, a.aggregate, a.checks);
  std::printf("# ranks %zu transport %s buffers %s commit rule %s calls %s repetitions %d%s\n", info.ranks,
              info.transport.c_str(), buffers_text(a, info).c_str(),
              a.no_commit ? "OFF (no agreement: a comparison only)" : "on", a.blocking != 0 ? "blocking" : "in flight",
              a.repetitions,
              a.cut_bytes > 0 ? (" cut " + format_bytes(a.cut_bytes) + (a.grouped ? " grouped" : "")).c_str() : "");
  if (a.is_failure_run()) {
    std::printf(
        "# failure run: every call has its own inputs and is checked, no warm-up; time is the median of undisturbed "
        "calls\n");
  }
}

bool bandwidth_okay(double average) {
  const char* wanted = std::getenv("NCCL_TESTS_MIN_BW");
  return wanted == nullptr || average >= kMinBandwidthShare * std::atof(wanted);
}

Status write_report(const RunInfo& info, const Arguments& arguments, const std::vector<Row>& rows, const Totals& totals,
                    bool bandwidth_okay) {
  if (arguments.json.empty()) return {};
  auto name = write_new_file(arguments.json, report_json(info, arguments, rows, totals, bandwidth_okay));
  if (!name.ok()) return name.error();
  std::printf("# Writing JSON output to %s\n", name->c_str());
  return {};
}

Result<std::string> write_new_file(const std::string& path, std::string_view text) {
  std::string name = path;
  int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  for (int suffix = 0; fd < 0 && errno == EEXIST && suffix < 10000; ++suffix) {
    name = path + "." + std::to_string(suffix);
    fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  }
  if (fd < 0) return {Code::kSystem, name + ": " + std::strerror(errno)};
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const std::string why = std::strerror(errno);
      ::close(fd);
      return {Code::kSystem, name + ": " + why};
    }
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  if (::close(fd) != 0) return {Code::kSystem, name + ": " + std::strerror(errno)};
  return name;
}

std::string time_text() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
  return text;
}

}  // namespace regroup::bench

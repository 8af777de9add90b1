#include "bench/recovery/report.h"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "bench/stats.h"
#include "bench/table.h"
#include "bench/text.h"

namespace regroup::bench {
namespace {

using Json = nlohmann::ordered_json;

double rounded(double ms) { return std::round(ms * 1000) / 1000; }

Json summary_json(const std::vector<double>& ms) {
  const Summary s = summarize(ms);
  return {{"p50", rounded(percentile(ms, 50))},
          {"p99", rounded(s.p99)},
          {"max", rounded(s.max)},
          {"min", rounded(s.min)},
          {"mean", rounded(s.mean)}};
}

}  // namespace

MachineFacts machine_facts() {
  MachineFacts facts;
  facts.cores = static_cast<int>(std::thread::hardware_concurrency());
  std::ifstream in("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
  for (std::string word; in >> word;) {
    if (word.front() == '[') facts.shmem_huge_pages = word.substr(1, word.size() - 2);
  }
  return facts;
}

std::string recovery_json(const RecoveryArguments& a, const MachineFacts& facts, const RecoveryResult& result,
                          const Ledger& ledger) {
  Json out;
  out["program"] = "recovery_perf";
  out["ranks"] = a.ranks;
  out["bytes"] = a.bytes;
  out["kills"] = result.kills;
  out["signal"] = a.stops() ? "STOP" : "KILL";
  out["resident"] = a.resident;
  out["transport"] = a.transport;
  out["registered"] = a.registered;
  if (!a.device.empty()) out["device"] = a.device;
  out["seed"] = a.seed;
  out["kill_to_commit_ms"] = summary_json(result.kill_to_commit_ms);
  out["op_ms_p50"] = rounded(percentile(result.op_ms, 50));
  out["lost_steps"] = ledger.lost_steps();
  out["wrong_results"] = ledger.wrong_results();
  out["first_commit_ms"] = summary_json(result.first_commit_ms);
  out["rejoin_ms"] = summary_json(result.rejoin_ms);
  out["join_gap_ms"] = summary_json(result.join_gap_ms);
  out["kills_mid_op"] = result.kills_mid_op;
  out["extra_evictions"] = result.extra_evictions;
  out["steps"] = ledger.steps();
  out["commits"] = ledger.commits();
  out["redone"] = ledger.redone();
  out["findings"] = ledger.findings();
  out["machine"] = {{"cores", facts.cores},
                    {"huge_pages", facts.huge_pages},
                    {"shmem_huge_pages", facts.shmem_huge_pages},
                    {"probe_us", {facts.probe_before_us, facts.probe_after_us}},
                    {"probe", probe_state(facts.probe_before_us, facts.probe_after_us)}};
  Json& all = out["kill_to_commit_ms_all"] = Json::array();
  for (double ms : result.kill_to_commit_ms) all.push_back(rounded(ms));
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string recovery_text(const RecoveryArguments& a, const MachineFacts& facts, const RecoveryResult& result,
                          const Ledger& ledger) {
  char text[1024];
  const std::string where = a.device.empty() ? (facts.huge_pages ? "2 MiB pages" : "4 KiB pages") : "buffers on " + a.device;
  const Summary join = summarize(result.join_gap_ms);
  std::snprintf(
      text, sizeof text,
      "%d times SIG%s to one of %d members, all-reduce of %s, %s resident, %s, probe %.3f/%.3f us\n"
      "  kill to last survivor's commit  p50 %.2f ms  p99 %.2f ms  max %.2f ms  (undisturbed op p50 %.2f ms)\n"
      "  rejoin p50 %.1f ms, longest gap of survivors meanwhile p50 %.1f ms, max %.1f ms\n"
      "  %llu steps, %d kills within an op, %llu commits after a redo, %d other members evicted\n"
      "  lost steps %llu, wrong results %llu\n",
      result.kills, a.stops() ? "STOP" : "KILL", a.ranks, format_bytes(a.bytes).c_str(),
      format_bytes(a.resident).c_str(), where.c_str(), facts.probe_before_us,
      facts.probe_after_us, percentile(result.kill_to_commit_ms, 50), percentile(result.kill_to_commit_ms, 99),
      percentile(result.kill_to_commit_ms, 100), percentile(result.op_ms, 50), percentile(result.rejoin_ms, 50),
      join.median, join.max, static_cast<unsigned long long>(ledger.steps()), result.kills_mid_op,
      static_cast<unsigned long long>(ledger.redone()), result.extra_evictions,
      static_cast<unsigned long long>(ledger.lost_steps()), static_cast<unsigned long long>(ledger.wrong_results()));
  std::string out = text;
  for (const std::string& finding : ledger.findings()) out += "  ! " + finding + "\n";
  return out;
}

}  // namespace regroup::bench

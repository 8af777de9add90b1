// catchup_perf: a rank comes back while the others train; what that costs them, and how long it takes. Exit status 0 only
// if every join succeeded with equal digests.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "bench/catchup/experiment.h"
#include "bench/report.h"
#include "bench/stats.h"
#include "regroup/options.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

nlohmann::json summary(const catchup::Arguments& a, const std::vector<catchup::Join>& joins) {
  const auto median = [&](auto field) {
    std::vector<double> values;
    for (const catchup::Join& j : joins) values.push_back(static_cast<double>(field(j)));
    return values.empty() ? 0.0 : percentile(values, 50);
  };
  using J = catchup::Join;
  nlohmann::json json;
  json["ranks"] = a.ranks, json["state_bytes"] = a.state, json["touch_bytes"] = a.touch, json["grad_bytes"] = a.grad;
  json["step_ms"] = a.step_ms, json["rate"] = a.rate;
  json["share"] = a.share < 0 ? regroup::Options().catch_up_share : a.share;
  json["transport"] = a.transport, json["joins"] = joins.size();
  json["gap_ms_max_before"] = median([](const J& j) { return j.gap_before_ms; });
  json["gap_ms_max_during"] = median([](const J& j) { return j.gap_during_ms; });
  json["step_ms_mean_before"] = median([](const J& j) { return j.mean_before_ms; });
  json["step_ms_mean_during"] = median([](const J& j) { return j.mean_during_ms; });
  json["ready_to_contributor_ms"] = median([](const J& j) { return j.contributor_ms; });
  json["ready_to_first_commit_ms"] = median([](const J& j) { return j.length_ms; });
  json["kill_to_commit_ms"] = median([](const J& j) { return j.kill_to_commit_ms; });
  json["replayed_steps"] = median([](const J& j) { return j.replayed; });
  int stalled = 0;
  bool equal = true;
  for (const J& j : joins) {
    stalled += j.stalled;
    equal = equal && j.digests_equal;
    json["bytes_per_source"].push_back(j.bytes_per_source);
    json["each"].push_back({{"gap_before", j.gap_before_ms}, {"gap_during", j.gap_during_ms}, {"gap_fetch", j.gap_fetch_ms},
                            {"gap_replay", j.gap_replay_ms}, {"gap_enter", j.gap_enter_ms}, {"mean_before", j.mean_before_ms},
                            {"mean_during", j.mean_during_ms}, {"fetch_ms", j.fetch_ms}, {"replay_ms", j.replay_ms},
                            {"contributor_ms", j.contributor_ms}, {"first_commit_ms", j.length_ms},
                            {"kill_to_commit_ms", j.kill_to_commit_ms}, {"replayed", j.replayed}, {"snapshots", j.snapshots},
                            {"stalled", j.stalled}, {"trouble", j.trouble}});
  }
  int killed = 0;
  std::uint64_t redone = 0;
  for (const J& j : joins) killed += j.killed_joining, redone += j.redone_for_them;
  json["joiners_killed"] = killed, json["redone_for_killed_joiners"] = redone;
  json["descriptors_more"] = median([](const J& j) { return j.descriptors_more; });
  json["resident_more_kib"] = median([](const J& j) { return j.resident_more_kib; });
  json["fault"] = a.fault;
  json["stalled_steps"] = stalled, json["digests_equal"] = equal;
  return json;
}

}  // namespace

int main(int argc, char** argv) {
  catchup::Arguments a;
  int member = -1;
  CLI::App app{"A rank comes back while the others train: what it costs them, how long it takes"};
  const CLI::AsSizeValue size(false);
  app.add_option("--ranks", a.ranks, "with the one that comes back; 1: one trains, another one comes")->check(CLI::Range(1, 16));
  app.add_option("--state", a.state, "bytes of registered state")->transform(size);
  app.add_option("--touch", a.touch, "bytes of it that each step changes")->transform(size);
  app.add_option("--grad", a.grad, "bytes of the all-reduce of a step")->transform(size);
  app.add_option("--rate", a.rate, "bytes/s that a source sends (throttle); 0: no bound")->transform(size);
  app.add_option("--share", a.share, "of a core that a source's transfer may take (throttle); 0: no bound")->check(CLI::Range(0.0, 1.0));
  app.add_option("--step-ms", a.step_ms, "what a step computes (sleeps)");
  app.add_option("--joins", a.joins)->check(CLI::Range(1, 1000));
  app.add_option("--joiner-kills", a.joiner_kills, "kills of the joiner while it joins, before every join")->check(CLI::Range(0, 1000));
  app.add_option("--fault", a.fault, "while a rank joins: of a source, or of both")
      ->check(CLI::IsMember({"none", "source-kill", "source-stop", "source-corrupt", "both-kill"}));
  app.add_option("--transport", a.transport)->check(CLI::IsMember({"auto", "shm", "tcp", "ucx"}));
  app.add_option("--host", a.host, "address that the coordinator listens at");
  std::string rank_in;
  app.add_option("--rank-in", rank_in, "words before a rank's command, %r is the rank (bench/catchup/links.sh)");
  app.add_option("--json", a.json, "new file for the figures");
  app.add_option("--member", member)->group("");
  CLI11_PARSE(app, argc, argv);
  if (member >= 0) return catchup::run_member(member);
  if (a.grad < 8 || a.state < 4096 || a.touch < 8) return std::fprintf(stderr, "catchup_perf: error: sizes are too small\n"), 2;
  if (a.fault != "none" && a.ranks < 4) return std::fprintf(stderr, "catchup_perf: error: --fault needs 4 ranks\n"), 2;
  a.ranks = std::max(a.ranks, 2);
  std::istringstream words(rank_in);
  for (std::string word; words >> word;) a.rank_in.push_back(word);
  a.state = a.state / 8 * 8, a.touch = a.touch / 8 * 8, a.grad = a.grad / 8 * 8;
  std::vector<catchup::Join> joins;
  Status status;
  {
    catchup::Experiment experiment(a);
    status = experiment.start();
    for (int i = 0; status.ok() && i < a.joins; ++i) {
      Result<catchup::Join> join = experiment.join_once();
      if (!join) status = join.error();
      else joins.push_back(*join);
      if (join)
        std::printf("join %d of %d: gap %.1f -> %.1f ms, contributor after %.0f ms, %llu steps replayed, digests %s\n", i + 1, a.joins,
                    join->gap_before_ms, join->gap_during_ms, join->contributor_ms, static_cast<unsigned long long>(join->replayed),
                    join->digests_equal ? "equal" : "DIFFER");
      std::fflush(stdout);
    }
  }
  if (!status) std::fprintf(stderr, "catchup_perf: error: %s\n", status.error().detail.c_str());
  const nlohmann::json json = summary(a, joins);
  std::printf("%s\n", json.dump(1).c_str());
  if (!a.json.empty())
    if (auto name = write_new_file(a.json, json.dump(1) + "\n"); !name) {
      std::fprintf(stderr, "catchup_perf: error: %s\n", name.error().detail.c_str());
      return 1;
    }
  return status.ok() && json["digests_equal"].get<bool>() && static_cast<int>(joins.size()) == a.joins ? 0 : 1;
}

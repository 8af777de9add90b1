// `regroup chaos`: real processes, real faults, checked results.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>

#include "base/clock.h"
#include "tools/chaos/report.h"
#include "tools/chaos/run.h"
#include "tools/regroup/commands.h"

namespace regroup::tools {
namespace {

using namespace chaos;

int fail(const Error& error) {
  std::fprintf(stderr, "regroup chaos: error: %s\n", error.detail.c_str());
  return error.code == Code::kConfig ? 2 : 1;
}

int run_chaos(ChaosArguments a, const std::string& faults, const std::string& arenas) {
  auto kinds = parse_faults(faults);
  if (!kinds.ok()) return fail(kinds.error());
  auto where = parse_arenas(arenas);
  if (!where.ok()) return fail(where.error());
  a.faults = std::move(*kinds), a.arenas = std::move(*where);
  Tally tally;
  const Instant begin = now();
  const Status status = chaos::run(a, tally);
  const double wall_s = (now() - begin).ms() / 1000;
  if (!status.ok() && status.code() == Code::kConfig) return fail(status.error());
  std::fputs(report_text(a, tally, wall_s).c_str(), stdout);
  if (!a.json.empty()) {
    std::ofstream out(a.json);
    out << report_json(a, tally, wall_s);
    out.close();
    if (!out) return fail({Code::kSystem, "cannot write " + a.json});
  }
  if (!status.ok()) return fail(status.error());
  return tally.good() ? 0 : 1;
}

}  // namespace

void add_chaos(CLI::App& app, int& status) {
  auto a = std::make_shared<ChaosArguments>();
  auto faults = std::make_shared<std::string>(), arenas = std::make_shared<std::string>();
  CLI::App* c = app.add_subcommand("chaos", "Kill, stop, cut off and duplicate members of a running group; check every result");
  c->add_option("--members", a->members, "2 to 16")->capture_default_str();
  c->add_option("--seconds", a->seconds, "of the whole run, shared out among the arenas")->capture_default_str();
  c->add_option("--seed", a->seed, "of payloads and faults; odd and even ones differ in how ops are in flight")->capture_default_str();
  c->add_option("--faults", *faults, "list of kill, view_change_kill, stop, partition, coordinator, duplicate, join (all)");
  c->add_option("--arenas", *arenas, "list of shm, tcp, net, nccl, ucx; net wants root, nccl REGROUP_NCCL_LIBRARY (all but nccl, ucx)");
  c->add_option("--max-bytes", a->max_bytes, "of an all-reduce")->transform(CLI::AsSizeValue(false))->capture_default_str();
  c->add_option("--hang", a->hang_s, "seconds after which a wait for members is a hang")->capture_default_str();
  c->add_option("--spare", a->spared, "ranks below this one are never killed: their memory is watched for longer")->capture_default_str();
  c->add_option("--device", a->device, "that the buffers lie on: cuda:N, or host, a simulated one (host memory)");
  c->add_option("--json", a->json, "write the result to this file");
  c->add_flag("--keep", a->keep, "keep the folder with log and flight records");
  c->callback([a, faults, arenas, &status] { status = run_chaos(*a, *faults, *arenas); });
}

}  // namespace regroup::tools

#include "bench/rank_run.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "bench/checked_call.h"
#include "bench/clock.h"
#include "bench/make_call.h"
#include "bench/roofline.h"
#include "bench/rows.h"
#include "bench/text.h"

namespace regroup::bench {
namespace {

constexpr int kMaxChosenIterations = 20000;

CallMode mode_of(const Arguments& a) {
  CallMode mode;
  mode.blocking = a.blocking != 0;
  mode.aggregate = a.aggregate;
  mode.cut_bytes = a.cut_bytes;
  mode.group_pieces = a.grouped;
  return mode;
}

}  // namespace

RankRun::RankRun(const Collective& collective, Arguments arguments, std::vector<std::string> command, const ThreadRank* thread)
    : collective_(collective), arguments_(std::move(arguments)), thread_(thread), calls_(collective, mode_of(arguments_)) {
  info_.program = collective.program;
  info_.command = std::move(command);
  info_.start_time = time_text();
}

int RankRun::run() {
  const Status status = run_all();
  if (status.ok()) return finish();
  std::fprintf(stderr, "%s: rank %u: error: %s\n", collective_.program, seat_.rank(), status.error().detail.c_str());
  return 1;
}

Status RankRun::run_all() {
  if (Status s = seat_.take(collective_, arguments_, thread_); !s.ok()) return s;
  info_.ranks = seat_.ranks();
  info_.transport = seat_.view().transport;
  if (const DeviceSide* side = seat_.buffers().side(); side != nullptr) info_.device = side->name();
  info_.huge_pages = info_.device.empty() && on_huge_pages(seat_.buffers().in());
  print_start();
  for (int cycle = 0; cycle < arguments_.cycles; ++cycle) {
    for (const RowSpec& spec : rows_of(collective_, arguments_, seat_.ranks())) {
      if (Status s = run_row(spec); !s.ok()) return s;
    }
  }
  return {};
}

Status RankRun::run_row(const RowSpec& spec) {
  auto row = run_point(spec);
  if (!row.ok()) {
    return error_of(format_bytes(spec.bytes) + " of " + name_of(spec.type) + " " + name_of(spec.op), row.error());
  }
  if (seat_.rank() == 0) {
    std::fputs(table_row(*row).c_str(), stdout);
    if (row->copy_gbs > 0) {
      std::printf("# %s\n", traffic_text(row->copy_gbs, seat_.ranks(), row->bytes, row->out_of_place.time_us.median,
                                         row->in_place.time_us.median).c_str());
    }
    std::fflush(stdout);
  }
  rows_.push_back(std::move(*row));
  return {};
}

Result<Row> RankRun::run_point(const RowSpec& spec) {
  Row row;
  row.type = name_of(spec.type);
  row.redop = collective_.reduces ? name_of(spec.op) : "none";
  row.root = spec.root;
  auto before = seat_.probe();
  if (!before.ok()) return before.error();
  // Ranks that this program started share the device that the command line names.
  const bool one_device = !arguments_.device.empty() && arguments_.started() > 0 && collective_.bounded_by_copies;
  if (one_device)
    if (Status s = measure_copy(spec.bytes, row.copy_gbs); !s.ok()) return s.error();
  for (bool in_place : {false, true}) {
    if (in_place ? arguments_.out_of_place_only || arguments_.output_scratch : arguments_.in_place_only) continue;
    const Call call = make_call(collective_, arguments_, spec, seat_.group(), seat_.view(), seat_.buffers(), in_place);
    row.count = call.count;
    row.bytes = shown_bytes(collective_, call.count, spec.type, seat_.ranks());
    auto side = run_side(call, row.bytes, in_place, row.plan);
    if (!side.ok()) return side.error();
    (in_place ? row.in_place : row.out_of_place) = *side;
  }
  if (one_device)
    if (Status s = measure_copy(spec.bytes, row.copy_gbs); !s.ok()) return s.error();
  if (arguments_.device.empty()) {
    auto held = seat_.runtime_bytes();
    if (!held.ok()) return held.error();
    row.runtime_bytes = *held;
  }
  auto after = seat_.probe();
  if (!after.ok()) return after.error();
  row.probe_before_us = *before;
  row.probe_after_us = *after;
  return row;
}

Result<Side> RankRun::run_side(const Call& call, std::size_t bytes, bool in_place, std::string& plan) {
  if (Status s = fill_input(collective_, seat_, call, ++seed_); !s.ok()) return s.error();
  if (Status s = calls_.run(call, arguments_.warmup, &plan); !s.ok()) return s.error();
  int n = arguments_.iterations;
  if (arguments_.seconds > 0) {
    auto chosen = choose_iterations(call);
    if (!chosen.ok()) return chosen.error();
    n = *chosen;
  }
  static constexpr ReduceOp kOverRanks[] = {ReduceOp::kSum, ReduceOp::kAvg, ReduceOp::kMin, ReduceOp::kMax};
  std::vector<double> times_us;
  for (int rep = 0; rep < arguments_.repetitions; ++rep) {
    if (Status s = seat_.barrier(); !s.ok()) return s.error();
    const std::int64_t begin = now_ns();
    if (Status s = calls_.run(call, n, &plan); !s.ok()) return s.error();
    const double mine = static_cast<double>(now_ns() - begin) / 1e3 / n / arguments_.aggregate;
    auto time = seat_.agree(arguments_.average == 0 && seat_.rank() != 0 ? 0 : mine, kOverRanks[arguments_.average]);
    if (!time.ok()) return time.error();
    times_us.push_back(*time);
  }
  Side side = make_side(summarize(times_us), bytes, collective_.bus_factor(seat_.ranks()));
  side.iterations = static_cast<std::size_t>(n);
  if (arguments_.checks > 0) {
    auto wrong = check_side(call, in_place);
    if (!wrong.ok()) return wrong.error();
    side.checked = true;
    side.wrong = *wrong;
  }
  return side;
}

// By rank 0, while the others wait; the fastest so far, before and behind the ops.
Status RankRun::measure_copy(std::size_t bytes, double& best_gbs) {
  const Result<double> gbs = seat_.rank() == 0 ? copy_gbs(seat_.buffers(), bytes) : Result<double>(0.0);
  if (!gbs.ok()) return error_of("the device's own copy", gbs.error());
  auto all = seat_.agree(*gbs, ReduceOp::kMax);
  if (!all.ok()) return all.error();
  best_gbs = std::max(best_gbs, *all);
  return {};
}

Result<int> RankRun::choose_iterations(const Call& call) {
  int n = 3;
  for (int round = 0; round < 2; ++round) {  // the second with enough calls to mean something
    if (Status s = seat_.barrier(); !s.ok()) return s.error();
    const double begin = now_s();
    if (Status s = calls_.run(call, n, nullptr); !s.ok()) return s.error();
    auto each = seat_.agree((now_s() - begin) / n, ReduceOp::kMax);
    if (!each.ok()) return each.error();
    const double fit = arguments_.seconds / arguments_.repetitions / std::max(*each, 1e-8);
    n = static_cast<int>(std::clamp(fit, 1.0, static_cast<double>(kMaxChosenIterations)));
  }
  return n;
}

Result<std::uint64_t> RankRun::check_side(const Call& call, bool in_place) {
  std::uint64_t wrong = 0;
  for (int i = 0; i < arguments_.checks; ++i) {
    auto found = checked_call(collective_, seat_, call, ++seed_, in_place, [&] { return calls_.once(call); });
    if (!found.ok()) return found.error();
    wrong += *found;
  }
  return wrong;
}

void RankRun::print_start() const {
  if (seat_.rank() != 0) return;
  print_heading(arguments_, info_);
  std::fputs(table_header().c_str(), stdout);
  std::fflush(stdout);
}

int RankRun::finish() {
  const Totals totals = totals_of(rows_);
  const bool okay = bandwidth_okay(totals.average_bus_bw);
  Status written;
  if (seat_.rank() == 0) {
    std::fputs(table_footer(totals.wrong, totals.average_bus_bw).c_str(), stdout);
    info_.end_time = time_text();
    written = write_report(info_, arguments_, rows_, totals, okay);
    if (!written.ok()) std::fprintf(stderr, "%s: error: %s\n", collective_.program, written.error().detail.c_str());
    std::fflush(stdout);
  }
  seat_.leave(collective_.program);
  return totals.wrong == 0 && okay && written.ok() ? 0 : 1;
}

}  // namespace regroup::bench

#include "bench/own/latency.h"

#include "bench/calls.h"
#include "bench/checked_call.h"
#include "bench/clock.h"
#include "bench/make_call.h"
#include "bench/own/experiment_run.h"
#include "bench/stats.h"

namespace regroup::bench {
namespace {

Result<FigureRow> measure_row(const Collective& collective, const Arguments& a, Seat& seat, const RowSpec& spec,
                              std::uint64_t& seed) {
  const Call call = make_call(collective, a, spec, seat.group(), seat.view(), seat.buffers(), a.in_place_only);
  CallMode mode;
  mode.cut_bytes = a.cut_bytes;
  mode.group_pieces = a.grouped;
  Calls calls(collective, mode);
  FigureRow out;
  out.row.count = call.count;
  out.row.bytes = shown_bytes(collective, call.count, spec.type, seat.ranks());
  if (Status s = fill_input(collective, seat, call, ++seed); !s.ok()) return s.error();
  if (Status s = calls.run(call, a.warmup, nullptr); !s.ok()) return s.error();
  if (Status s = seat.barrier(); !s.ok()) return s.error();
  std::vector<double> times_us(static_cast<std::size_t>(a.iterations));
  for (double& time : times_us) {
    const std::int64_t begin = now_ns();
    if (Status s = calls.run(call, 1, nullptr); !s.ok()) return s.error();
    time = static_cast<double>(now_ns() - begin) / 1e3;
  }
  static constexpr struct {
    const char* name;
    double percent;
  } kShown[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};
  for (const auto& shown : kShown) {
    auto worst = seat.agree(percentile(times_us, shown.percent), ReduceOp::kMax);
    if (!worst.ok()) return worst.error();
    out.figures.push_back({shown.name, "us", *worst});
  }
  for (int i = 0; i < a.checks; ++i) {
    auto wrong = checked_call(collective, seat, call, ++seed, a.in_place_only, [&] { return calls.once(call); });
    if (!wrong.ok()) return wrong.error();
    out.wrong += *wrong;
    out.checked = true;
  }
  return out;
}

}  // namespace

int measure_latency(const Collective& collective, const Arguments& a, const std::vector<std::string>& command,
                    const ThreadRank* thread) {
  std::uint64_t seed = 0;
  const std::string about = "each of " + std::to_string(a.iterations) +
                            " calls timed by itself; the worst rank's percentile, by nearest rank";
  return run_measure(collective, a, command, thread, about,
                     [&](Seat& seat, const RowSpec& spec) { return measure_row(collective, a, seat, spec, seed); });
}

}  // namespace regroup::bench

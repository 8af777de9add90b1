#include "bench/own/experiment_run.h"

#include <cstdio>

#include "bench/text.h"

namespace regroup::bench {
namespace {

Result<FigureRow> probed(Seat& seat, const Collective& collective, const RowSpec& spec, const Measure& measure) {
  const auto before = seat.probe();
  if (!before.ok()) return before.error();
  auto row = measure(seat, spec);
  if (!row.ok()) return row.error();
  const auto after = seat.probe();
  if (!after.ok()) return after.error();
  row->row.type = name_of(spec.type);
  row->row.redop = collective.reduces ? name_of(spec.op) : "none";
  row->row.root = spec.root;
  row->row.probe_before_us = *before;
  row->row.probe_after_us = *after;
  return row;
}

Status run_rows(const Collective& collective, const Arguments& arguments, Seat& seat, const Measure& measure,
                std::vector<FigureRow>& rows) {
  for (const RowSpec& spec : rows_of(collective, arguments, seat.ranks())) {
    auto row = probed(seat, collective, spec, measure);
    if (!row.ok()) return error_of(format_bytes(spec.bytes) + " of " + name_of(spec.type), row.error());
    if (seat.rank() == 0) {
      if (rows.empty()) std::fputs(figures_header(row->figures).c_str(), stdout);
      std::fputs(figures_line(*row).c_str(), stdout);
      std::fflush(stdout);
    }
    rows.push_back(std::move(*row));
  }
  return {};
}

}  // namespace

int run_measure(const Collective& collective, const Arguments& arguments, const std::vector<std::string>& command,
                const ThreadRank* thread, const std::string& about, const Measure& measure) {
  RunInfo info;
  info.program = collective.program;
  info.command = command;
  info.start_time = time_text();
  Seat seat;
  std::vector<FigureRow> rows;
  Status status = seat.take(collective, arguments, thread);
  if (status.ok()) {
    info.ranks = seat.ranks();
    info.transport = seat.view().transport;
    if (const DeviceSide* side = seat.buffers().side(); side != nullptr) info.device = side->name();
    if (seat.rank() == 0) {
      print_heading(arguments, info);
      std::printf("# %s\n", about.c_str());
    }
    status = run_rows(collective, arguments, seat, measure, rows);
  }
  std::uint64_t wrong = 0;
  for (const FigureRow& row : rows) wrong += row.wrong;
  if (status.ok() && seat.rank() == 0) {
    std::printf("# Out of bounds values : %llu %s\n", static_cast<unsigned long long>(wrong),
                wrong == 0 ? "OK" : "FAILED");
    info.end_time = time_text();
    status = write_figures(info, arguments, rows);
    std::fflush(stdout);
  }
  if (!status.ok()) {
    std::fprintf(stderr, "%s: rank %u: error: %s\n", collective.program, seat.rank(), status.error().detail.c_str());
    return 1;
  }
  seat.leave(collective.program);
  return wrong == 0 ? 0 : 1;
}

}  // namespace regroup::bench

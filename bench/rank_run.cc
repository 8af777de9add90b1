#include "bench/rank_run.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "bench/check.h"
#include "bench/clock.h"
#include "bench/failure/board.h"
#include "bench/launch_env.h"
#include "bench/rows.h"
#include "bench/text.h"

namespace regroup::bench {
namespace {

constexpr int kMaxChosenIterations = 20000;
constexpr double kLeaveS = 5;

Error error_of(const std::string& what, const Error& error) {
  return {error.code, what + ": " + code_name(error.code) + ": " + error.detail};
}

CallMode mode_of(const Arguments& a) {
  CallMode mode;
  mode.blocking = a.blocking != 0;
  mode.aggregate = a.aggregate;
  mode.cut_bytes = a.cut_bytes;
  mode.group_pieces = a.grouped;
  return mode;
}

}  // namespace

RankRun::RankRun(const Collective& collective, Arguments arguments, std::vector<std::string> command)
    : collective_(collective), arguments_(std::move(arguments)), calls_(collective, mode_of(arguments_)) {
  info_.program = collective.program;
  info_.command = std::move(command);
  info_.start_time = time_text();
}

int RankRun::run() {
  Status status = join();
  if (status.ok()) status = run_all();
  if (status.ok()) return finish();
  std::fprintf(stderr, "%s: rank %u: error: %s\n", collective_.program, rank_, status.error().detail.c_str());
  return 1;
}

Status RankRun::join() {
  if (Status s = adopt_launcher_environment(arguments_.timeout_s); !s.ok()) return s;
  auto options = Options::from_environment();
  if (!options.ok()) return options.error();
  if (options->rank < 0 || options->world_size <= 0) {
    return {Code::kConfig, "no rank is set: give --ranks N, or start under `regroup run`, torchrun or mpirun"};
  }
  rank_ = static_cast<std::uint32_t>(options->rank);
  if (!arguments_.transport.empty()) options->transport = arguments_.transport;
  options->no_commit = arguments_.no_commit;
  options->auto_rejoin = false;
  options->wait_timeout_s = arguments_.timeout_s;
  options->join_timeout_s = std::min(options->join_timeout_s, arguments_.timeout_s);
  if (rank_ == 0 && arguments_.probe) probe_ = std::make_unique<Probe>();  // forks: before the group's threads
  if (Board* board = inherited_board(); board != nullptr) board->ranks[rank_].came.store(1);
  auto group = Group::join(std::move(*options));
  if (!group.ok()) return error_of("join", group.error());
  group_ = std::move(*group);
  if (arguments_.bind) bind_to_core(static_cast<int>(rank_));
  view_ = group_->view();
  ranks_ = view_.size();
  self_ = view_.self;
  info_.ranks = ranks_;
  info_.transport = view_.transport;
  return {};
}

Status RankRun::run_all() {
  if (collective_.rooted && arguments_.root >= static_cast<int>(ranks_)) {
    return {Code::kInvalid,
            "-r " + std::to_string(arguments_.root) + ": there are " + std::to_string(ranks_) + " ranks"};
  }
  const BufferBytes bytes = buffer_bytes(collective_, arguments_, ranks_, ranks_);
  buffers_ = std::make_unique<Buffers>();
  if (Status s = buffers_->allocate(*group_, bytes.in, bytes.out, arguments_.registered); !s.ok()) {
    return error_of("buffers of " + format_bytes(bytes.out), s.error());
  }
  info_.huge_pages = on_huge_pages(buffers_->in());
  print_start();
  for (int cycle = 0; cycle < arguments_.cycles; ++cycle) {
    for (const RowSpec& spec : rows_of(collective_, arguments_, ranks_)) {
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
  if (rank_ == 0) {
    std::fputs(table_row(*row).c_str(), stdout);
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
  const std::size_t unit = size_of(spec.type);
  row.count = collective_.count(spec.bytes / unit, unit, ranks_);
  const Shape shape = collective_.shape(row.count, ranks_, self_);
  row.bytes = std::max(shape.in, shape.out) * unit;
  auto before = probe();
  if (!before.ok()) return before.error();
  const std::size_t shift = static_cast<std::size_t>(arguments_.unalign) * unit;
  for (bool in_place : {false, true}) {
    if (!in_place && arguments_.in_place_only) continue;
    char* out = static_cast<char*>(buffers_->out()) + shift;
    Call call;
    call.group = group_.get();
    call.view = &view_;
    call.in = in_place ? out + shape.in_at * unit : static_cast<char*>(buffers_->in()) + shift;
    call.out = in_place ? out + shape.out_at * unit : out;
    call.count = row.count;
    call.type = spec.type;
    call.op = spec.op;
    call.root = {static_cast<std::uint32_t>(std::max(spec.root, 0)), 0};
    auto side = run_side(call, row.bytes, in_place, row.plan);
    if (!side.ok()) return side.error();
    (in_place ? row.in_place : row.out_of_place) = *side;
  }
  auto after = probe();
  if (!after.ok()) return after.error();
  row.probe_before_us = *before;
  row.probe_after_us = *after;
  return row;
}

Pattern RankRun::next_pattern(const Call& call) {
  return {call.type, call.op, ++seed_, static_cast<std::uint32_t>(ranks_)};
}

void RankRun::fill(const Pattern& pattern, const Call& call) const {
  bench::fill(pattern, rank_, const_cast<void*>(call.in), collective_.shape(call.count, ranks_, self_).in);
}

Result<Side> RankRun::run_side(const Call& call, std::size_t bytes, bool in_place, std::string& plan) {
  fill(next_pattern(call), call);
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
    if (auto b = group_->barrier(); !b.ok()) return error_of("barrier", b.error());
    const std::int64_t begin = now_ns();
    if (Status s = calls_.run(call, n, &plan); !s.ok()) return s.error();
    const double mine = static_cast<double>(now_ns() - begin) / 1e3 / n / arguments_.aggregate;
    auto time = agree(arguments_.average == 0 && rank_ != 0 ? 0 : mine, kOverRanks[arguments_.average]);
    if (!time.ok()) return time.error();
    times_us.push_back(*time);
  }
  Side side = make_side(summarize(times_us), bytes, collective_.bus_factor(ranks_));
  side.iterations = static_cast<std::size_t>(n);
  if (arguments_.checks > 0) {
    auto wrong = check_side(call, in_place);
    if (!wrong.ok()) return wrong.error();
    side.checked = true;
    side.wrong = *wrong;
  }
  return side;
}

Result<int> RankRun::choose_iterations(const Call& call) {
  int n = 3;
  for (int round = 0; round < 2; ++round) {  // the second with enough calls to mean something
    if (auto b = group_->barrier(); !b.ok()) return error_of("barrier", b.error());
    const double begin = now_s();
    if (Status s = calls_.run(call, n, nullptr); !s.ok()) return s.error();
    auto each = agree((now_s() - begin) / n, ReduceOp::kMax);
    if (!each.ok()) return each.error();
    const double fit = arguments_.seconds / arguments_.repetitions / std::max(*each, 1e-8);
    n = static_cast<int>(std::clamp(fit, 1.0, static_cast<double>(kMaxChosenIterations)));
  }
  return n;
}

Result<std::uint64_t> RankRun::check_side(const Call& call, bool in_place) {
  std::uint64_t wrong = 0;
  const Shape shape = collective_.shape(call.count, ranks_, self_);
  const std::size_t out_bytes = shape.out * size_of(call.type);
  for (int i = 0; i < arguments_.checks; ++i) {
    const Pattern pattern = next_pattern(call);
    poison(call.out, out_bytes);  // in place the input is then laid over it
    fill(pattern, call);
    auto outcome = calls_.once(call);
    if (!outcome.ok()) return error_of(in_place ? "checked op in place" : "checked op", outcome.error());
    const std::vector<std::uint32_t> members = ranks_of(*outcome->view);
    const Viewer viewer{members, self_, position_of(*outcome->view, call.root)};
    wrong += wrong_elements(collective_, pattern, viewer, call.out, call.count);
    if (!in_place && collective_.parts(call.count, ranks_, self_, viewer.root).empty()) {
      wrong += count_touched(call.out, out_bytes);  // this member takes nothing
    }
  }
  auto all = agree(static_cast<double>(wrong), ReduceOp::kSum);
  if (!all.ok()) return all.error();
  return static_cast<std::uint64_t>(std::llround(*all));
}

Result<double> RankRun::agree(double value, ReduceOp op) {
  double out = 0;
  auto outcome = group_->all_reduce(&value, &out, 1, DataType::kF64, op);
  if (!outcome.ok()) return error_of("agreement on a time", outcome.error());
  return out;
}

Result<double> RankRun::probe() {
  // The others wait in the barrier meanwhile, asleep but for its first microseconds.
  const double us = probe_ != nullptr ? probe_->measure_us() : 0;
  if (auto b = group_->barrier(); !b.ok()) return error_of("barrier", b.error());
  return us;
}

void RankRun::print_start() const {
  if (rank_ != 0) return;
  print_heading(arguments_, info_);
  std::fputs(table_header().c_str(), stdout);
  std::fflush(stdout);
}

int RankRun::finish() {
  const Totals totals = totals_of(rows_);
  const bool okay = bandwidth_okay(totals.average_bus_bw);
  Status written;
  if (rank_ == 0) {
    std::fputs(table_footer(totals.wrong, totals.average_bus_bw).c_str(), stdout);
    info_.end_time = time_text();
    written = write_report(info_, arguments_, rows_, totals, okay);
    if (!written.ok()) std::fprintf(stderr, "%s: error: %s\n", collective_.program, written.error().detail.c_str());
    std::fflush(stdout);
  }
  buffers_.reset();
  if (Status left = group_->leave(kLeaveS); !left.ok()) {
    std::fprintf(stderr, "%s: rank %u: leave: %s\n", collective_.program, rank_, left.error().detail.c_str());
  }
  return totals.wrong == 0 && okay && written.ok() ? 0 : 1;
}

}  // namespace regroup::bench

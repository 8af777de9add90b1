#include "bench/rank_run.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "bench/check.h"
#include "bench/clock.h"
#include "bench/text.h"

namespace regroup::bench {
namespace {

constexpr double kMinBandwidthShare = 0.9;  // of NCCL_TESTS_MIN_BW, as in nccl-tests
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

bool okay_bandwidth(double average) {
  const char* wanted = std::getenv("NCCL_TESTS_MIN_BW");
  return wanted == nullptr || average >= kMinBandwidthShare * std::atof(wanted);
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
  auto options = Options::from_environment();
  if (!options.ok()) return options.error();
  if (options->rank < 0 || options->world_size <= 0) {
    return {Code::kConfig, "no rank is set: give --ranks N, or start under `regroup run` or torchrun"};
  }
  rank_ = static_cast<std::uint32_t>(options->rank);
  if (!arguments_.transport.empty()) options->transport = arguments_.transport;
  options->no_commit = arguments_.no_commit;
  options->auto_rejoin = false;
  options->wait_timeout_s = arguments_.timeout_s;
  options->join_timeout_s = std::min(options->join_timeout_s, arguments_.timeout_s);
  if (rank_ == 0 && arguments_.probe) probe_ = std::make_unique<Probe>();  // forks: before the group's threads
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

std::vector<int> RankRun::roots() const {
  if (!collective_.rooted) return {-1};
  if (arguments_.root >= 0) return {arguments_.root};
  std::vector<int> out;
  for (std::size_t r = 0; r < ranks_; ++r) out.push_back(static_cast<int>(r));
  return out;
}

Status RankRun::run_all() {
  if (collective_.rooted && arguments_.root >= static_cast<int>(ranks_)) {
    return {Code::kInvalid,
            "-r " + std::to_string(arguments_.root) + ": there are " + std::to_string(ranks_) + " ranks"};
  }
  const BufferBytes bytes = buffer_bytes(collective_, arguments_, ranks_);
  buffers_ = std::make_unique<Buffers>();
  if (Status s = buffers_->allocate(*group_, bytes.in, bytes.out, arguments_.registered); !s.ok()) {
    return error_of("buffers of " + format_bytes(bytes.out), s.error());
  }
  info_.huge_pages = on_huge_pages(buffers_->in());
  print_start();
  for (int cycle = 0; cycle < arguments_.cycles; ++cycle) {
    for (DataType type : arguments_.types) {
      for (ReduceOp op : collective_.reduces ? arguments_.ops : std::vector<ReduceOp>{ReduceOp::kSum}) {
        for (int root : roots()) {
          for (std::size_t size : sizes_of(arguments_, type)) {
            if (Status s = run_row(size, type, op, root); !s.ok()) return s;
          }
        }
      }
    }
  }
  return {};
}

Status RankRun::run_row(std::size_t bytes, DataType type, ReduceOp op, int root) {
  auto row = run_point(bytes, type, op, root);
  if (!row.ok()) return error_of(format_bytes(bytes) + " of " + name_of(type) + " " + name_of(op), row.error());
  if (rank_ == 0) {
    std::fputs(table_row(*row).c_str(), stdout);
    std::fflush(stdout);
  }
  rows_.push_back(std::move(*row));
  return {};
}

Result<Row> RankRun::run_point(std::size_t bytes, DataType type, ReduceOp op, int root) {
  Row row;
  row.type = name_of(type);
  row.redop = collective_.reduces ? name_of(op) : "none";
  row.root = root;
  const std::size_t unit = size_of(type);
  row.count = collective_.count(bytes / unit, unit, ranks_);
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
    call.type = type;
    call.op = op;
    call.root = {static_cast<std::uint32_t>(std::max(root, 0)), 0};
    auto side = run_side(call, row.bytes, in_place, row.plan);
    if (!side.ok()) return side.error();
    wrong_ += side->wrong;
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
  const Arguments& a = arguments_;
  std::printf("# regroup: %s (the table is that of nccl-tests)\n# Collective test starting: %s\n", collective_.program,
              collective_.program);
  const bool factor = a.step_factor > 1;
  std::printf(
      "# nThread 1 nGpus 0 minBytes %zu maxBytes %zu step: %g(%s) warmup iters: %d iters: %d agg iters: %d "
      "validation: %d graph: 0\n#\n",
      a.min_bytes, a.max_bytes, factor ? a.step_factor : static_cast<double>(a.step_bytes), factor ? "factor" : "bytes",
      a.warmup, a.iterations, a.aggregate, a.checks);
  std::printf("# ranks %zu transport %s buffers %s%s commit rule %s calls %s repetitions %d%s\n", ranks_,
              info_.transport.c_str(), a.registered ? "registered" : "private",
              info_.huge_pages ? " (2 MiB pages)" : "", a.no_commit ? "OFF (no agreement: a comparison only)" : "on",
              a.blocking != 0 ? "blocking" : "in flight", a.repetitions,
              a.cut_bytes > 0 ? (" cut " + format_bytes(a.cut_bytes) + (a.grouped ? " grouped" : "")).c_str() : "");
  std::fputs(table_header().c_str(), stdout);
  std::fflush(stdout);
}

int RankRun::finish() {
  double sum = 0, sides = 0;
  for (const Row& row : rows_) {
    for (const Side* side : {&row.out_of_place, &row.in_place}) {
      if (side->time_us.count == 0) continue;
      sum += side->bus_bw;
      ++sides;
    }
  }
  const double average = sides > 0 ? sum / sides : 0;
  const bool okay = okay_bandwidth(average);
  bool written = true;
  if (rank_ == 0) {
    std::fputs(table_footer(wrong_, average).c_str(), stdout);
    if (!arguments_.json.empty()) {
      info_.end_time = time_text();
      auto name = write_new_file(arguments_.json, report_json(info_, arguments_, rows_, wrong_, average, okay));
      written = name.ok();
      if (written) std::printf("# Writing JSON output to %s\n", name->c_str());
      if (!written) std::fprintf(stderr, "%s: error: %s\n", collective_.program, name.error().detail.c_str());
    }
    std::fflush(stdout);
  }
  buffers_.reset();
  if (Status left = group_->leave(kLeaveS); !left.ok()) {
    std::fprintf(stderr, "%s: rank %u: leave: %s\n", collective_.program, rank_, left.error().detail.c_str());
  }
  return wrong_ == 0 && okay && written ? 0 : 1;
}

}  // namespace regroup::bench

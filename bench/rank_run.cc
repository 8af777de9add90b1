#include "bench/rank_run.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

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

bool okay_bandwidth(double average) {
  const char* wanted = std::getenv("NCCL_TESTS_MIN_BW");
  return wanted == nullptr || average >= kMinBandwidthShare * std::atof(wanted);
}

}  // namespace

RankRun::RankRun(const Collective& collective, Arguments arguments, std::vector<std::string> command)
    : collective_(collective), arguments_(std::move(arguments)) {
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
  window_ = options->window;
  if (rank_ == 0 && arguments_.probe) probe_ = std::make_unique<Probe>();  // forks: before the group's threads
  auto group = Group::join(std::move(*options));
  if (!group.ok()) return error_of("join", group.error());
  group_ = std::move(*group);
  if (arguments_.bind) bind_to_core(static_cast<int>(rank_));
  const ViewInfo view = group_->view();
  ranks_ = view.size();
  info_.ranks = ranks_;
  info_.transport = view.transport;
  return {};
}

Status RankRun::run_all() {
  std::size_t in_bytes = 0, out_bytes = 0;
  for (DataType type : arguments_.types) {
    const std::size_t unit = size_of(type);
    const std::size_t count = collective_.count(sizes_of(arguments_, type).back(), unit, ranks_);
    in_bytes = std::max(in_bytes, collective_.in_elements(count, ranks_) * unit);
    out_bytes = std::max(out_bytes, collective_.out_elements(count, ranks_) * unit);
  }
  buffers_ = std::make_unique<Buffers>();
  if (Status s = buffers_->allocate(*group_, in_bytes, out_bytes, arguments_.registered); !s.ok()) {
    return error_of("buffers of " + format_bytes(in_bytes), s.error());
  }
  info_.huge_pages = on_huge_pages(buffers_->in());
  print_start();
  for (DataType type : arguments_.types) {
    for (ReduceOp op : collective_.reduces ? arguments_.ops : std::vector<ReduceOp>{ReduceOp::kSum}) {
      for (std::size_t bytes : sizes_of(arguments_, type)) {
        auto row = run_point(bytes, type, op);
        if (!row.ok()) {
          return error_of(format_bytes(bytes) + " of " + name_of(type) + " " + name_of(op), row.error());
        }
        if (rank_ == 0) {
          std::fputs(table_row(*row).c_str(), stdout);
          std::fflush(stdout);
        }
        rows_.push_back(std::move(*row));
      }
    }
  }
  return {};
}

Result<Row> RankRun::run_point(std::size_t bytes, DataType type, ReduceOp op) {
  Row row;
  row.type = name_of(type);
  row.redop = collective_.reduces ? name_of(op) : "none";
  const std::size_t unit = size_of(type);
  row.count = collective_.count(bytes, unit, ranks_);
  row.bytes = std::max(collective_.in_elements(row.count, ranks_), collective_.out_elements(row.count, ranks_)) * unit;
  auto before = probe();
  if (!before.ok()) return before.error();
  for (bool in_place : {false, true}) {
    if (!in_place && arguments_.in_place_only) continue;
    const std::size_t offset = in_place ? collective_.in_place_offset(row.count, ranks_, rank_) * unit : 0;
    Call call{group_.get(),
              in_place ? static_cast<char*>(buffers_->out()) + offset : buffers_->in(),
              buffers_->out(),
              row.count,
              type,
              op};
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

Result<Side> RankRun::run_side(Call call, std::size_t bytes, bool in_place, std::string& plan) {
  const Pattern pattern{call.type, call.op, ++seed_, static_cast<std::uint32_t>(ranks_)};
  collective_.fill(pattern, rank_, ranks_, const_cast<void*>(call.in), call.count);
  if (Status s = run_calls(call, arguments_.warmup, &plan); !s.ok()) return s.error();
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
    if (Status s = run_calls(call, n, &plan); !s.ok()) return s.error();
    const double mine = static_cast<double>(now_ns() - begin) / 1e3 / n;
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

Status RankRun::run_calls(const Call& call, int n, std::string* plan) {
  const auto keep = [&](const Result<Outcome>& outcome) -> Status {
    if (!outcome.ok()) return error_of("op", outcome.error());
    if (outcome->contributors() != ranks_) {
      return {Code::kViewChanged, "a member was lost: " + std::to_string(outcome->contributors()) + " are left"};
    }
    if (plan != nullptr) *plan = outcome->plan;
    return {};
  };
  if (arguments_.blocking != 0) {
    Result<Outcome> last = Outcome{};
    for (int i = 0; i < n; ++i) {
      last = collective_.run(call);
      if (!last.ok()) break;
    }
    return n == 0 ? Status{} : keep(last);
  }
  std::vector<Work> flying(window_);
  for (int i = 0; i < n + static_cast<int>(window_); ++i) {
    Work& slot = flying[static_cast<std::size_t>(i) % window_];
    if (i >= static_cast<int>(window_) && i - static_cast<int>(window_) < n) {
      if (Status s = keep(slot.wait()); !s.ok()) return s;
    }
    if (i < n) slot = collective_.start(call);
  }
  return {};
}

Result<int> RankRun::choose_iterations(const Call& call) {
  int n = 3;
  for (int round = 0; round < 2; ++round) {  // the second with enough calls to mean something
    if (auto b = group_->barrier(); !b.ok()) return error_of("barrier", b.error());
    const double begin = now_s();
    if (Status s = run_calls(call, n, nullptr); !s.ok()) return s.error();
    auto each = agree((now_s() - begin) / n, ReduceOp::kMax);
    if (!each.ok()) return each.error();
    const double fit = arguments_.seconds / arguments_.repetitions / std::max(*each, 1e-8);
    n = static_cast<int>(std::clamp(fit, 1.0, static_cast<double>(kMaxChosenIterations)));
  }
  return n;
}

Result<std::uint64_t> RankRun::check_side(const Call& call, bool in_place) {
  std::uint64_t wrong = 0;
  const std::size_t out_bytes = collective_.out_elements(call.count, ranks_) * size_of(call.type);
  for (int i = 0; i < arguments_.checks; ++i) {
    const Pattern pattern{call.type, call.op, ++seed_, static_cast<std::uint32_t>(ranks_)};
    poison(call.out, out_bytes);  // in place the input is then laid over it
    collective_.fill(pattern, rank_, ranks_, const_cast<void*>(call.in), call.count);
    auto outcome = collective_.run(call);
    if (!outcome.ok()) return error_of(in_place ? "checked op in place" : "checked op", outcome.error());
    std::vector<std::uint32_t> contributors;
    for (const MemberId& id : outcome->view->members) contributors.push_back(id.replica);
    wrong += collective_.wrong(pattern, contributors, rank_, call.out, call.count);
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
      "# nThread 1 nGpus 0 minBytes %zu maxBytes %zu step: %g(%s) warmup iters: %d iters: %d agg iters: 1 "
      "validation: %d graph: 0\n#\n",
      a.min_bytes, a.max_bytes, factor ? a.step_factor : static_cast<double>(a.step_bytes), factor ? "factor" : "bytes",
      a.warmup, a.iterations, a.checks);
  std::printf("# ranks %zu transport %s buffers %s%s commit rule %s calls %s repetitions %d\n", ranks_,
              info_.transport.c_str(), a.registered ? "registered" : "private",
              info_.huge_pages ? " (2 MiB pages)" : "", a.no_commit ? "OFF (no agreement: a comparison only)" : "on",
              a.blocking != 0 ? "blocking" : "in flight", a.repetitions);
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

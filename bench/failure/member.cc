#include "bench/failure/member.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "bench/buffers.h"
#include "bench/check.h"
#include "bench/clock.h"
#include "bench/failure/board.h"
#include "bench/failure/script.h"
#include "bench/make_call.h"
#include "bench/probe.h"
#include "bench/stats.h"

namespace regroup::bench {
namespace {

constexpr int kMostRetries = 100;  // of one call, each after a change of members
constexpr double kLeaveS = 5;

class FailureMember {
 public:
  FailureMember(const Collective& collective, const Arguments& arguments, Board& board, std::uint32_t rank)
      : collective_(collective),
        arguments_(arguments),
        script_(collective, arguments),
        board_(board),
        mine_(board.ranks[rank]),
        rank_(rank) {}

  Status run(Options options) {
    options.state = {{"place", &place_, sizeof place_}};
    mine_.came.store(1);
    auto group = Group::join(std::move(options));
    if (!group.ok()) return {group.code(), "join: " + group.error().detail};
    group_ = std::move(*group);
    if (arguments_.bind) bind_to_core(static_cast<int>(rank_));
    begin_life();
    if (Status s = allocate(); !s.ok()) return s;
    while (place_.position < script_.total()) {
      if (Status s = one_call(); !s.ok()) {
        return {s.code(),
                "call " + std::to_string(place_.position) + ": " + code_name(s.code()) + ": " + s.error().detail};
      }
    }
    buffers_.reset();
    Status left = group_->leave(kLeaveS);
    static_cast<void>(left);  // the others may have gone first
    return {};
  }

 private:
  void begin_life() {
    const ViewInfo view = group_->view();
    if (board_.transport[0] == 0) std::strncpy(board_.transport, view.transport.c_str(), sizeof board_.transport - 1);
    mine_.position.store(place_.position);
    mine_.lives.fetch_add(1);
    times_.clear();
    quiet_times_.clear();
    wrong_ = 0;
  }

  Status allocate() {
    const BufferBytes bytes = buffer_bytes(collective_, arguments_, static_cast<std::size_t>(arguments_.ranks), 1);
    buffers_ = std::make_unique<Buffers>();
    if (Status s = buffers_->allocate(*group_, bytes.in, bytes.out, where_of(arguments_)); !s.ok()) return s;
    if (const DeviceSide* side = buffers_->side(); side != nullptr && board_.device[0] == 0)
      std::strncpy(board_.device, side->name(), sizeof board_.device - 1);
    return {};
  }

  Pattern pattern_for(const Call& call) const {
    return {call.type, call.op, place_.position * 1'000'003 + place_.repeats + 1,
            static_cast<std::uint32_t>(arguments_.ranks)};
  }

  // kViewChanged and kMismatch: the members changed, the call is made again with those that are there.
  Status one_call() {
    const Script::Step step = script_.at(place_.position);
    for (int attempt = 0; attempt < kMostRetries; ++attempt) {
      const ViewInfo view = group_->view();
      const Call call =
          bench::make_call(collective_, arguments_, script_.rows()[step.row], *group_, view, *buffers_, step.in_place);
      const Pattern pattern = pattern_for(call);
      const Shape shape = collective_.shape(call.count, view.size(), view.self);
      if (arguments_.checks > 0)
        if (Status s = prepare(call, pattern, shape); !s.ok()) return s;
      const std::int64_t begin = now_ns();
      const Result<Outcome> outcome = issue(call);
      if (outcome.ok() && call.side != nullptr)
        if (Status s = call.side->finish(); !s.ok()) return s;
      const std::int64_t end = now_ns();
      if (outcome.ok()) {
        if (Status s = fetch(call, shape); !s.ok()) return s;
        const bool quiet = attempt == 0 && outcome->attempts == 1 && outcome->epoch == epoch_;
        note(*outcome, static_cast<double>(end - begin) / 1e3, quiet, end);
        if (arguments_.checks > 0) wrong_ += check(pattern, call, *outcome);
        finish_call(step, *outcome);
        return {};
      }
      if (outcome.code() == Code::kEvicted) {  // it has rejoined, and its place is that of the living
        begin_life();
        return {};
      }
      if (outcome.code() != Code::kViewChanged && outcome.code() != Code::kMismatch) return outcome.error();
    }
    return {Code::kViewChanged, "given up after " + std::to_string(kMostRetries) + " changes of members"};
  }

  // Poison in the output and, in place over it, the input.
  Status prepare(const Call& call, const Pattern& pattern, const Shape& shape) {
    const std::size_t unit = size_of(call.type);
    poison(call.here(call.out), shape.out * unit);
    fill(pattern, rank_, call.here(call.in), shape.in);
    if (call.side == nullptr) return {};
    if (Status s = call.side->put(call.out, shape.out * unit); !s.ok()) return s;
    return call.side->put(call.in, shape.in * unit);
  }

  // The output of a call on a device, over poison here.
  Status fetch(const Call& call, const Shape& shape) {
    if (call.side == nullptr || arguments_.checks == 0) return {};
    const std::size_t bytes = shape.out * size_of(call.type);
    poison(call.here(call.out), bytes);
    return call.side->fetch(call.out, bytes);
  }

  Result<Outcome> issue(const Call& call) {
    for (std::size_t f = 0; f < arguments_.faults.size(); ++f) {
      const Fault& fault = arguments_.faults[f];
      if (fault.rank != static_cast<int>(rank_) || fault.at != place_.position || board_.fault_ns[f].load() != 0)
        continue;
      Work work = collective_.start(call);
      board_.fault_ns[f].store(now_ns());
      ::raise(fault.stops ? SIGSTOP : SIGKILL);
      return work.wait();
    }
    return collective_.run(call);
  }

  std::uint64_t check(const Pattern& pattern, const Call& call, const Outcome& outcome) const {
    const std::vector<std::uint32_t> members = ranks_of(*outcome.view);
    const Viewer viewer{members, outcome.view->self, position_of(*outcome.view, call.root)};
    return wrong_elements(collective_, pattern, viewer, call.here(call.out), call.count);
  }

  void note(const Outcome& outcome, double us, bool quiet, std::int64_t end) {
    times_.push_back(us);
    if (quiet) quiet_times_.push_back(us);
    epoch_ = outcome.epoch;
    bool any_fault = false;
    for (std::size_t f = 0; f < arguments_.faults.size(); ++f) {
      const Fault& fault = arguments_.faults[f];
      if (board_.fault_ns[f].load() == 0) continue;
      any_fault = true;
      if (mine_.recovered_ns[f].load() != 0 || fault.rank == static_cast<int>(rank_)) continue;
      const MemberId victim{static_cast<std::uint32_t>(fault.rank), 0};
      const bool without = position_of(*outcome.view, victim) == outcome.contributors();
      if (without || place_.position > fault.at) mine_.recovered_ns[f].store(end);
    }
    const bool full = outcome.contributors() == static_cast<std::size_t>(arguments_.ranks);
    if (any_fault && full && mine_.full_ns.load() == 0) mine_.full_ns.store(end);
    if (any_fault && !full) mine_.full_ns.store(0);
  }

  void finish_call(const Script::Step& step, const Outcome& outcome) {
    const bool waits = static_cast<std::int64_t>(place_.position) == arguments_.join_at &&
                       outcome.contributors() < static_cast<std::size_t>(arguments_.ranks);
    if (waits) {  // this call is made again, until all are there; the same at every member, for it saw the same outcome
      times_.pop_back();
      ++place_.repeats;
      mine_.position.store(place_.position);
      return;
    }
    if (step.last) {
      SideRecord& record = mine_.sides[step.side];
      record.live = static_cast<std::uint32_t>(outcome.contributors());
      record.epoch = outcome.epoch;
      record.wrong = wrong_;
      record.time_us = summarize(quiet_times_.empty() ? times_ : quiet_times_).median;
      record.done.store(1, std::memory_order_release);
      times_.clear();
      quiet_times_.clear();
      wrong_ = 0;
    }
    ++place_.position;
    mine_.position.store(place_.position, std::memory_order_release);
  }

  const Collective& collective_;
  const Arguments& arguments_;
  const Script script_;
  Board& board_;
  RankPart& mine_;
  const std::uint32_t rank_;
  std::unique_ptr<Group> group_;
  std::unique_ptr<Buffers> buffers_;  // after the group: freed before it
  // Registered state: a rank that comes back has it from the living. Not Group::steps(): retried calls count there too.
  struct {
    std::uint64_t position = 0;
    std::uint64_t repeats = 0;  // of the --join call
  } place_;
  std::uint64_t epoch_ = 0;
  std::uint64_t wrong_ = 0;
  std::vector<double> times_, quiet_times_;
};

}  // namespace

bool is_failure_member() { return std::getenv(kBoardVariable) != nullptr; }

int run_failure_member(const Collective& collective, const Arguments& arguments) {
  Board* board = inherited_board();
  auto options = Options::from_environment();
  if (board == nullptr || !options.ok() || options->rank < 0 || options->rank >= arguments.ranks) {
    std::fprintf(stderr, "%s: error: %s\n", collective.program,
                 options.ok() ? "this rank was not started by --ranks" : options.error().detail.c_str());
    return 1;
  }
  if (!arguments.transport.empty()) options->transport = arguments.transport;
  if (!arguments.device.empty()) options->device = arguments.device;
  options->wait_timeout_s = arguments.timeout_s;
  options->join_timeout_s = std::min(options->join_timeout_s, arguments.timeout_s);
  const auto rank = static_cast<std::uint32_t>(options->rank);
  const Status status = FailureMember(collective, arguments, *board, rank).run(std::move(*options));
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s: rank %u: error: %s\n", collective.program, rank, status.error().detail.c_str());
  return 1;
}

}  // namespace regroup::bench

#include "bench/seat.h"

#include <algorithm>
#include <cstdio>

#include "bench/failure/board.h"
#include "bench/launch_env.h"
#include "bench/memory.h"
#include "bench/text.h"

namespace regroup::bench {
namespace {

constexpr double kLeaveS = 5;

}  // namespace

Error error_of(const std::string& what, const Error& error) {
  return {error.code, what + ": " + code_name(error.code) + ": " + error.detail};
}

// Of a rank that is a process.
Result<Options> Seat::options_of(const Arguments& arguments) {
  if (Status s = adopt_launcher_environment(arguments.timeout_s); !s.ok()) return s.error();
  auto options = Options::from_environment();
  if (!options.ok()) return options.error();
  if (options->rank < 0 || options->world_size <= 0) {
    return {Code::kConfig, "no rank is set: give --ranks N, or start under `regroup run`, torchrun or mpirun"};
  }
  if (options->rank == 0 && arguments.probe) own_probe_ = std::make_unique<Probe>();  // forks: before the group's threads
  probe_ = own_probe_.get();
  if (Board* board = inherited_board(); board != nullptr) board->ranks[options->rank].came.store(1);
  before_bytes_ = resident_share_bytes();
  return options;
}

Status Seat::take(const Collective& collective, const Arguments& arguments, const ThreadRank* thread) {
  auto options = thread != nullptr ? Result<Options>(thread->options) : options_of(arguments);
  if (!options.ok()) return options.error();
  if (thread != nullptr) {
    probe_ = thread->probe;
    before_bytes_ = thread->before_bytes;
    in_process_ = static_cast<std::size_t>(options->world_size);
  }
  rank_ = static_cast<std::uint32_t>(options->rank);
  if (!arguments.transport.empty()) options->transport = arguments.transport;
  if (!arguments.device.empty()) options->device = arguments.device;
  options->no_commit = arguments.no_commit;
  options->auto_rejoin = false;
  options->wait_timeout_s = arguments.timeout_s;
  options->join_timeout_s = std::min(options->join_timeout_s, arguments.timeout_s);
  auto group = Group::join(std::move(*options));
  if (!group.ok()) return error_of("join", group.error());
  group_ = std::move(*group);
  if (arguments.bind) bind_to_core(static_cast<int>(rank_));
  view_ = group_->view();
  if (collective.rooted && arguments.root >= static_cast<int>(ranks())) {
    return {Code::kConfig,
            "-r " + std::to_string(arguments.root) + ": there are " + std::to_string(ranks()) + " ranks"};
  }
  const BufferBytes bytes = buffer_bytes(collective, arguments, ranks(), ranks());
  buffers_ = std::make_unique<Buffers>();
  if (Status s = buffers_->allocate(*group_, bytes.in, bytes.out, where_of(arguments)); !s.ok()) {
    return error_of("buffers of " + format_bytes(bytes.out), s.error());
  }
  return {};
}

void Seat::leave(const char* program) {
  buffers_.reset();
  if (group_ == nullptr) return;
  if (Status left = group_->leave(kLeaveS); !left.ok()) {
    std::fprintf(stderr, "%s: rank %u: leave: %s\n", program, rank_, left.error().detail.c_str());
  }
}

Status Seat::barrier() {
  if (auto b = group_->barrier(); !b.ok()) return error_of("barrier", b.error());
  return {};
}

Result<double> Seat::agree(double value, ReduceOp op) {
  double out = 0;
  auto outcome = group_->all_reduce(&value, &out, 1, DataType::kF64, op);
  if (!outcome.ok()) return error_of("agreement on a time", outcome.error());
  return out;
}

Result<double> Seat::runtime_bytes() {
  if (Status s = barrier(); !s.ok()) return s.error();  // nobody allocates while another one counts
  const double since = static_cast<double>(resident_share_bytes()) - static_cast<double>(before_bytes_);
  return agree(since / static_cast<double>(in_process_) - static_cast<double>(buffers_->bytes()), ReduceOp::kAvg);
}

Result<double> Seat::probe() {
  // The others wait in the barrier meanwhile, asleep but for its first microseconds.
  const double us = probe_ != nullptr ? probe_->measure_us() : 0;
  if (Status s = barrier(); !s.ok()) return s.error();
  return us;
}

}  // namespace regroup::bench

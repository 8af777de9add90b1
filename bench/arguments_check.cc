#include "bench/arguments_check.h"

#include <algorithm>

namespace regroup::bench {
namespace {

Status check_device(const Arguments& a) {
  if (a.device.empty()) return {};
  if (!device_named(a.device))
    return {Code::kInvalid, "--device '" + a.device + "' is none of cuda:N, host"};
  if (a.registered) return {Code::kInvalid, "--registered has no meaning with --device: Group::allocate gives host memory"};
  if (a.cut_bytes > 0) return {Code::kInvalid, "--cut has no meaning with --device: calls on a device's buffers are not cut"};
  if (a.output_scratch) {
    return {Code::kInvalid, "--output-scratch has no meaning with --device: an output there is written after the commit"};
  }
  return {};
}

Status check_failure_run(const Arguments& a) {
  if (!a.is_failure_run()) return {};
  if (a.threads > 0) return {Code::kInvalid, "--kill, --stop and --join need processes: --ranks, not --threads"};
  if (a.ranks < 2)
    return {Code::kInvalid, "--kill, --stop and --join need --ranks of 2 or more: the bench owns the ranks"};
  if (a.no_commit) return {Code::kInvalid, "--no-commit gives up agreement: not with --kill, --stop or --join"};
  if (a.blocking == 0 || a.aggregate > 1 || a.cut_bytes > 0 || a.seconds > 0 || a.repetitions > 1 || a.cycles > 1) {
    return {Code::kInvalid, "-z 0, -m, -N, --cut, --seconds and --reps have no meaning with --kill, --stop and --join"};
  }
  std::vector<bool> gone(static_cast<std::size_t>(a.ranks));
  for (const Fault& fault : a.faults) {
    if (fault.rank >= a.ranks) {
      return {Code::kInvalid, (fault.stops ? "--stop " : "--kill ") + std::to_string(fault.rank) + ": there are " +
                                  std::to_string(a.ranks) + " ranks"};
    }
    if (gone[static_cast<std::size_t>(fault.rank)]) {
      return {Code::kInvalid, "--kill, --stop: rank " + std::to_string(fault.rank) + " is named twice"};
    }
    gone[static_cast<std::size_t>(fault.rank)] = true;
  }
  if (std::find(gone.begin(), gone.end(), false) == gone.end()) {
    return {Code::kInvalid, "--kill, --stop: no rank would be left"};
  }
  if (a.join_at >= 0 && a.faults.empty()) return {Code::kInvalid, "--join: nobody is gone: give --kill or --stop too"};
  for (const Fault& fault : a.faults) {
    if (a.join_at >= 0 && static_cast<std::uint64_t>(a.join_at) <= fault.at) {
      return {Code::kInvalid, "--join " + std::to_string(a.join_at) + " must come after every --kill and --stop"};
    }
  }
  return {};
}

}  // namespace

bool device_named(const std::string& text) { return text == "host" || text.starts_with("host,") || text.starts_with("cuda:"); }

Status check_arguments(const Collective& collective, const Arguments& a) {
  if (a.cut_bytes > 0 && !collective.cuttable) {
    return {Code::kInvalid, std::string("--cut has no meaning for ") + collective.program +
                                ": a range of its buffers is not the same collective"};
  }
  if (a.in_place_only && a.out_of_place_only) {
    return {Code::kInvalid, "--in-place-only and --out-of-place-only leave nothing to run"};
  }
  if (a.in_place_only && a.output_scratch) {
    return {Code::kInvalid, "--output-scratch has no meaning with --in-place-only: the output would be the input"};
  }
  if (a.grouped && a.cut_bytes == 0) return {Code::kInvalid, "--grouped needs --cut"};
  if (a.root < -1) return {Code::kInvalid, "-r " + std::to_string(a.root) + ": -1 (every rank in turn), 0 or above"};
  if (a.ranks > 0 && a.threads > 0) return {Code::kInvalid, "--ranks starts processes, --threads threads: give one of them"};
  if (a.started() > 0 && a.root >= a.started() && collective.rooted) {
    return {Code::kInvalid, "-r " + std::to_string(a.root) + ": there are " + std::to_string(a.started()) + " ranks"};
  }
  if (Status s = check_device(a); !s.ok()) return s;
  if (Status s = check_failure_run(a); !s.ok()) return s;
  if (a.max_bytes < a.min_bytes) return {Code::kInvalid, "-e (maxbytes) is below -b (minbytes)"};
  if (a.max_bytes > a.min_bytes && a.step_factor <= 1 && a.step_bytes == 0) {
    return {Code::kInvalid, "between -b and -e there must be a step: -i above 0 or -f above 1"};
  }
  if (!a.transport.empty() && a.transport != "shm" && a.transport != "tcp" && a.transport != "ucx" && a.transport != "nccl" && a.transport != "auto") {
    return {Code::kInvalid, "--transport '" + a.transport + "' is not one of shm, tcp, ucx, nccl, auto"};
  }
  return {};
}

}  // namespace regroup::bench

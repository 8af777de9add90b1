// The command line of the *_perf programs: nccl-tests' flags, and ours. Values; errors name the flag.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"

namespace regroup::bench {

struct Arguments {
  std::size_t min_bytes = 32u << 20;
  std::size_t max_bytes = 32u << 20;
  std::size_t step_bytes = 1u << 20;
  double step_factor = 1;  // above 1: sizes are multiplied, else step_bytes is added
  int iterations = 20;
  int warmup = 5;
  int checks = 1;  // checked iterations a side, with other inputs each; 0: none
  std::vector<DataType> types = {DataType::kF32};
  std::vector<ReduceOp> ops = {ReduceOp::kSum};
  int average = 1;   // over ranks: 0 rank 0's time, 1 mean, 2 min, 3 max
  int blocking = 1;  // 1: every call waits for its outcome; 0: calls in flight up to the window
  std::string json;  // file; an existing one gets a suffix

  int ranks = 0;          // above 0: start that many processes
  std::string transport;  // empty: REGROUP_TRANSPORT, else auto
  bool registered = false;
  bool no_commit = false;
  bool bind = false;  // each rank's calling thread to a core of its own
  bool in_place_only = false;
  int repetitions = 1;     // of the timed section; the table shows the median
  double seconds = 0;      // above 0: iterations are chosen so that one side takes about this long
  double timeout_s = 120;  // of any wait; beyond it the run fails
  bool probe = true;

  std::string help;  // not empty: print it and stop
};

// kInvalid: unknown flag, a value that does not parse or is out of range.
Result<Arguments> parse_arguments(const std::string& program, int argc, const char* const* argv);

// The sizes from min to max, each rounded down to whole elements of `type` (at least one).
std::vector<std::size_t> sizes_of(const Arguments& arguments, DataType type);

}  // namespace regroup::bench

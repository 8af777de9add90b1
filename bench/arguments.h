// The command line of the *_perf programs: nccl-tests' flags, and ours. Values; errors name the flag.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/result.h"
#include "bench/collective.h"

namespace regroup::bench {

// --kill R@ITER, --stop R@ITER[+SECONDS]: what a rank does to itself inside its ITER-th timed call of the run.
struct Fault {
  int rank = 0;
  std::uint64_t at = 0;  // calls are counted from 0, over all rows
  bool stops = false;    // SIGSTOP, and SIGCONT `seconds` later; else SIGKILL
  double seconds = 3;
};

struct Arguments {
  std::size_t min_bytes = 32u << 20;
  std::size_t max_bytes = 32u << 20;
  std::size_t step_bytes = 1u << 20;
  double step_factor = 1;  // above 1: sizes are multiplied, else step_bytes is added
  int iterations = 20;
  int warmup = 5;
  int checks = 1;  // checked iterations a side, with other inputs each; 0: none
  std::vector<DataType> types = {DataType::kF32};
  std::vector<Reduction> ops = {{}};
  int average = 1;    // over ranks: 0 rank 0's time, 1 mean, 2 min, 3 max
  int blocking = 1;   // 1 to 3: every call waits for its outcome; 0: calls in flight up to the window
  int root = 0;       // of rooted collectives; -1: every rank in turn
  int aggregate = 1;  // calls launched as one
  int cycles = 1;     // of the whole list of rows
  int unalign = 0;    // elements by which the buffers are shifted
  std::string json;   // file; an existing one gets a suffix

  int ranks = 0;          // above 0: start that many processes
  int threads = 0;        // above 0: that many ranks as threads of this process
  [[nodiscard]] int started() const { return ranks > 0 ? ranks : threads; }  // ranks that this program starts; 0: none
  std::string device;     // the buffers lie on this device of the group; empty: host memory
  std::string transport;  // empty: REGROUP_TRANSPORT, else auto
  bool registered = false;
  bool no_commit = false;
  std::size_t cut_bytes = 0;  // above 0: a call is cut into pieces of so many bytes, each an op of its own
  bool grouped = false;       // the pieces of a call are launched as one
  bool bind = false;          // each rank's calling thread to a core of its own
  bool in_place_only = false;
  bool output_scratch = false;
  bool out_of_place_only = false;
  int repetitions = 1;     // of the timed section; the table shows the median
  double seconds = 0;      // above 0: iterations are chosen so that one side takes about this long
  double timeout_s = 120;  // of any wait; beyond it the run fails
  bool probe = true;

  std::vector<Fault> faults;  // in the order of `at`; not empty or join_at >= 0: a failure run
  std::int64_t join_at = -1;  // this call is repeated until all ranks are there again
  [[nodiscard]] bool is_failure_run() const { return !faults.empty() || join_at >= 0; }

  std::string help;  // not empty: print it and stop
};

// What a program changes of the command line: other defaults, and flags of its own with whole numbers as values.
struct ExtraFlag {
  const char* name;  // "--in-flight"
  const char* help;
  int* value;  // holds the default
  int least;
  int most;
};
struct CommandLine {
  const char* min_bytes = "32M";
  const char* max_bytes = "";  // empty: the smallest
  double step_factor = 1;
  int iterations = 20;
  std::vector<ExtraFlag> extra;
};

// kInvalid: unknown flag, a value that does not parse or is out of range, or one that this program has no meaning for.
Result<Arguments> parse_arguments(const Collective& collective, int argc, const char* const* argv,
                                  const CommandLine& line = {});

}  // namespace regroup::bench

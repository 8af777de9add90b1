// One rank of a *_perf run: joins, times every size out of place and in place, checks, and at rank 0 prints and
// reports. One thread. An op that fails ends the run with a message and status 1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/arguments.h"
#include "bench/calls.h"
#include "bench/collective.h"
#include "bench/report.h"
#include "bench/rows.h"
#include "bench/seat.h"
#include "bench/table.h"

namespace regroup::bench {

class RankRun {
 public:
  // `thread`: of a rank that is a thread, outlives the object; else null.
  RankRun(const Collective& collective, Arguments arguments, std::vector<std::string> command, const ThreadRank* thread);
  int run();  // the process's exit status

 private:
  Status run_all();
  Status run_row(const RowSpec& spec);
  Result<Row> run_point(const RowSpec& spec);
  Result<Side> run_side(const Call& call, std::size_t bytes, bool in_place, std::string& plan);
  Result<int> choose_iterations(const Call& call);
  Result<std::uint64_t> check_side(const Call& call, bool in_place);
  Status measure_copy(std::size_t bytes, double& best_gbs);
  void print_start() const;
  int finish();

  const Collective& collective_;
  const Arguments arguments_;
  const ThreadRank* const thread_;
  Calls calls_;
  RunInfo info_;
  Seat seat_;
  std::uint64_t seed_ = 0;
  std::vector<Row> rows_;
};

}  // namespace regroup::bench

// One rank of a *_perf run: joins, times every size out of place and in place, checks, and at rank 0 prints and
// reports. One thread; owns its group and buffers. An op that fails ends the run with a message and status 1.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/arguments.h"
#include "bench/buffers.h"
#include "bench/calls.h"
#include "bench/collective.h"
#include "bench/data.h"
#include "bench/probe.h"
#include "bench/report.h"
#include "bench/rows.h"
#include "bench/table.h"

namespace regroup::bench {

class RankRun {
 public:
  RankRun(const Collective& collective, Arguments arguments, std::vector<std::string> command);
  int run();  // the process's exit status

 private:
  Status join();
  Status run_all();
  Status run_row(const RowSpec& spec);
  Result<Row> run_point(const RowSpec& spec);
  Result<Side> run_side(const Call& call, std::size_t bytes, bool in_place, std::string& plan);
  Result<int> choose_iterations(const Call& call);
  Result<std::uint64_t> check_side(const Call& call, bool in_place);
  [[nodiscard]] Pattern next_pattern(const Call& call);
  void fill(const Pattern& pattern, const Call& call) const;
  // The same at all ranks afterwards: over ranks as `op` says.
  Result<double> agree(double value, ReduceOp op);
  Result<double> probe();
  void print_start() const;
  int finish();

  const Collective& collective_;
  const Arguments arguments_;
  Calls calls_;
  RunInfo info_;
  std::unique_ptr<Probe> probe_;
  std::unique_ptr<Group> group_;
  std::unique_ptr<Buffers> buffers_;  // after the group: freed before it
  std::uint32_t rank_ = 0;
  std::size_t ranks_ = 0;
  std::size_t self_ = 0;  // position in the view
  ViewInfo view_;
  std::uint64_t seed_ = 0;
  std::vector<Row> rows_;
};

}  // namespace regroup::bench

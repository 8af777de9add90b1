// The table of nccl-tests, column for column, so that scripts which read theirs read ours. Pure text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/stats.h"

namespace regroup::bench {

// One side of a row: out of place or in place.
struct Side {
  Summary time_us;          // over the repetitions; the median is the figure
  double alg_bw = 0;        // GB/s
  double bus_bw = 0;        // GB/s
  bool checked = false;     // else #wrong is N/A
  std::uint64_t wrong = 0;  // elements, over all ranks
  std::size_t iterations = 0;
};

// Fills time and both bandwidths. bytes / time, times the bus factor of the collective.
Side make_side(Summary time_us, std::size_t bytes, double bus_factor);

// Of a failure run, as of a row's last call.
struct Churn {
  std::size_t live = 0;
  std::uint64_t epoch = 0;
  double recover_ms = -1;  // from the fault to the last survivor's next commit; negative: no fault in this row
};

struct Row {
  std::size_t bytes = 0;
  std::size_t count = 0;
  std::string type;
  std::string redop;  // "none" where the collective has none
  int root = -1;
  Side out_of_place;
  Side in_place;
  double probe_before_us = 0;
  double probe_after_us = 0;
  std::string plan;  // what the runtime named its way
  double runtime_bytes = 0;  // held by the runtime at the end, of a rank on average
  double copy_gbs = 0;       // of a device's own copy, beside ops on it; 0: not measured
  std::optional<Churn> churn;
};

std::string table_header(bool churn = false);  // `churn`: with the columns of a failure run
std::string table_row(const Row& row);
// Over all rows and sides that were run.
struct Totals {
  std::uint64_t wrong = 0;
  double average_bus_bw = 0;
};
Totals totals_of(const std::vector<Row>& rows);
std::string table_footer(std::uint64_t wrong, double average_bus_bw);

// "near", "far" or "mixed": two lines may be compared only where both probes agree.
std::string_view probe_state(double before_us, double after_us);

}  // namespace regroup::bench

// Order statistics of a set of timings. Pure; values.
#pragma once

#include <cstddef>
#include <vector>

namespace regroup::bench {

struct Summary {
  std::size_t count = 0;
  double min = 0;
  double median = 0;
  double p99 = 0;
  double max = 0;
  double mean = 0;
};

// The p-th percentile (0 to 100) by nearest rank: a value that occurred, never an interpolation. 0 of nothing.
double percentile(std::vector<double> values, double p);

// median: with an even count the mean of the middle two; p99 by nearest rank.
Summary summarize(std::vector<double> values);

}  // namespace regroup::bench

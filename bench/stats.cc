#include "bench/stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace regroup::bench {
namespace {

// The nearest rank of p among sorted values.
double rank_of(const std::vector<double>& sorted, double p) {
  const double rank = std::ceil(p / 100 * static_cast<double>(sorted.size()));
  const auto index = static_cast<std::size_t>(std::max(1.0, std::min(rank, static_cast<double>(sorted.size()))));
  return sorted[index - 1];
}

}  // namespace

double percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return rank_of(values, p);
}

Summary summarize(std::vector<double> values) {
  Summary out;
  if (values.empty()) return out;
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  out.count = n;
  out.min = values.front();
  out.max = values.back();
  out.median = n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
  out.p99 = rank_of(values, 99);
  out.mean = std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(n);
  return out;
}

}  // namespace regroup::bench

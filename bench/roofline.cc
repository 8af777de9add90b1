#include "bench/roofline.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "bench/clock.h"
#include "bench/stats.h"

namespace regroup::bench {
namespace {

constexpr int kRounds = 7, kMostCopies = 20;
constexpr double kRoundS = 0.05;  // a round has as many copies as fit, at least one

Result<double> seconds_of(const Buffers& buffers, std::size_t bytes, int copies) {
  const double begin = now_s();
  for (int i = 0; i < copies; ++i)
    if (Status s = buffers.side()->stream().copy(buffers.out(), buffers.in(), bytes); !s.ok()) return s.error();
  if (Status s = buffers.side()->finish(); !s.ok()) return s.error();
  return (now_s() - begin) / copies;
}

}  // namespace

std::array<double, 3> traffic_shares(double copy_gbs, std::size_t ranks, std::size_t bytes, double time_us) {
  std::array<double, 3> out{};
  if (copy_gbs <= 0 || time_us <= 0) return out;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const TrafficBound& bound = kTrafficBounds[i];
    const double traffic = (bound.times_ranks * static_cast<double>(ranks) + bound.plus) * static_cast<double>(bytes);
    out[i] = traffic / (copy_gbs * 1e9) / (time_us / 1e6);
  }
  return out;
}

Result<double> copy_gbs(const Buffers& buffers, std::size_t bytes) {
  const auto warm = seconds_of(buffers, bytes, 1);
  if (!warm.ok()) return warm.error();
  const int copies = std::clamp(static_cast<int>(kRoundS / std::max(*warm, 1e-9)), 1, kMostCopies);
  std::vector<double> seconds;
  for (int round = 0; round <= kRounds; ++round) {
    const auto each = seconds_of(buffers, bytes, copies);
    if (!each.ok()) return each.error();
    if (round != 0) seconds.push_back(*each);
  }
  return 2.0 * static_cast<double>(bytes) / summarize(seconds).median / 1e9;
}

std::string traffic_text(double copy_gbs, std::size_t ranks, std::size_t bytes, double out_of_place_us, double in_place_us) {
  char text[64];
  std::snprintf(text, sizeof text, "copy %.1f GB/s", copy_gbs);
  std::string out = text;
  for (const auto& [name, time_us] : {std::pair{"out of place", out_of_place_us}, {"in place", in_place_us}}) {
    if (time_us <= 0) continue;
    const auto shares = traffic_shares(copy_gbs, ranks, bytes, time_us);
    for (std::size_t i = 0; i < shares.size(); ++i) {
      std::snprintf(text, sizeof text, "%s %s %.1f %%", i == 0 ? (std::string("; ") + name).c_str() : ",", kTrafficBounds[i].name,
                    100 * shares[i]);
      out += text;
    }
  }
  return out;
}

}  // namespace regroup::bench

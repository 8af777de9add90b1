// The memory traffic of an all-reduce of N ranks of one device, S bytes each, beside the device's own copy: 2NS at least (inputs
// read, outputs written); (2N+1)S with the shards placed once and taken out of a cache; (3N+1)S with what is placed read again by
// all, as in place with one commit for the whole. A share is that traffic, at a copy's rate in the same run, over the op's time.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "bench/buffers.h"

namespace regroup::bench {

struct TrafficBound {
  const char* name;
  double times_ranks, plus;  // traffic in S: times_ranks * N + plus
};
inline constexpr std::array<TrafficBound, 3> kTrafficBounds{{{"2NS", 2, 0}, {"(2N+1)S", 2, 1}, {"(3N+1)S", 3, 1}}};

// 0 to 1, in the order of kTrafficBounds. `copy_gbs`: read and written, in 1e9 bytes a second.
std::array<double, 3> traffic_shares(double copy_gbs, std::size_t ranks, std::size_t bytes, double time_us);

// As device_perf measures it: rounds of copies from one buffer to the other, the median, after one round that warms up. Both
// buffers are `bytes` long, on a device; what is in the output afterwards is the input.
Result<double> copy_gbs(const Buffers& buffers, std::size_t bytes);

// "copy 1500.0 GB/s; out of place 2NS 41 %, ...; in place ..."; sides that took no time are left out.
std::string traffic_text(double copy_gbs, std::size_t ranks, std::size_t bytes, double out_of_place_us, double in_place_us);

}  // namespace regroup::bench

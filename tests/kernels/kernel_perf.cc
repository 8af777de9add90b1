// kernel_perf [MiB [repeats]]: bandwidth of the host kernels on one core, against memcpy; and the cost of small calls.
// Figures are GB/s of traffic, (k + 1) bytes moved per byte of result: the median of the repeats, variants alternating,
// so that a drift of the machine meets all of them; and the best, which is what a busy machine leaves to compare: its share of
// the best memcpy and of the best copy of any kind, one core's bound. Buffers on 2 MiB pages where to be had (madvise).
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/host/table.h"
#include "kernels/kernels.h"
#include "kernels/lists.h"
#include "kernels/quantise.h"

namespace {

using namespace regroup;
using kernels::Store;

std::uint8_t* allocate(std::size_t bytes) {
  constexpr std::size_t huge = 2 << 20;
  void* p = ::mmap(nullptr, bytes + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    std::perror("mmap");
    std::exit(1);
  }
  auto* aligned = reinterpret_cast<std::uint8_t*>((reinterpret_cast<std::uintptr_t>(p) + huge - 1) / huge * huge);
  ::madvise(aligned, bytes, MADV_HUGEPAGE);
  std::memset(aligned, 0, bytes);
  return aligned;
}

struct Point {
  std::string name;
  double traffic_bytes;
  std::function<void()> run;
  std::vector<double> times_ns = {};
};

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

// Digest and 8-bit codes: traffic is what they read and write. `from` holds bf16 of similar size, `to` and `more` have as much room.
void add_lists(std::vector<Point>& points, std::size_t bytes, std::uint8_t* to, std::uint8_t* from, std::uint8_t* more) {
  using kernels::Code8;
  Rng rng(1);
  for (std::size_t i = 0; i < bytes; i += 8) {
    const std::uint64_t halves = (rng.next() & 0x81ff81ff81ff81ff) | 0x3e003e003e003e00;
    std::memcpy(from + i, &halves, 8);
  }
  const auto size = static_cast<double>(bytes);
  points.push_back({"digest", size, [=] { (void)kernels::digest(from, bytes); }});
  points.push_back({"digest and copy", 2 * size, [=] { kernels::copy_digest(to, from, bytes); }});
  const std::size_t halves = bytes / 2, floats = bytes / 4;
  for (const Code8 code : {Code8::kFp8, Code8::kInt8}) {
    const std::string name = code == Code8::kFp8 ? " fp8" : " int8";
    std::uint8_t *const codes = to, *const scales = to + halves;
    points.push_back({"quantise" + name, 1.5 * size + static_cast<double>(kernels::scales_for(halves)),
                      [=] { kernels::quantise(code, codes, scales, from, halves); }});
    points.push_back({"dequantise and add" + name, 2.25 * size + static_cast<double>(kernels::scales_for(floats)),
                      [=] { kernels::dequantise_add(code, reinterpret_cast<float*>(more), codes, scales, floats); }});
  }
}

void small_calls(std::uint8_t* dst, const std::vector<const void*>& sources) {
  std::printf("\nsmall calls, f32 sum, ns per call (cached)\n");
  for (const std::size_t k : {2, 4}) {
    for (const std::size_t count : {1, 8, 16, 32, 128, 1024}) {
      constexpr int calls = 200000;
      const Instant start = now();
      for (int i = 0; i < calls; ++i) {
        kernels::reduce(DataType::kF32, ReduceOp::kSum, dst, {sources.data(), k}, count);
      }
      std::printf("  k=%zu count=%-5zu %8.1f\n", k, count, static_cast<double>((now() - start).ns) / calls);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t mib = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 64;
  const int repeats = argc > 2 ? std::atoi(argv[2]) : 15;
  if (mib == 0 || repeats <= 0) {
    std::fprintf(stderr, "usage: kernel_perf [MiB [repeats]]\n");
    return 2;
  }
  const std::size_t bytes = mib << 20;
  std::uint8_t* dst = allocate(bytes);
  std::vector<const void*> sources;
  for (int j = 0; j < 4; ++j) sources.push_back(allocate(bytes));

  std::vector<Point> points;
  const auto size = static_cast<double>(bytes);
  points.push_back({"memcpy", 2 * size, [=] { std::memcpy(dst, sources[0], bytes); }});
  for (const Store store : {Store::kCached, Store::kStream}) {
    const std::string suffix = store == Store::kStream ? " stream" : " cached";
    points.push_back({"copy" + suffix, 2 * size, [=] { kernels::copy(dst, sources[0], bytes, store); }});
    for (const DataType type : {DataType::kF32, DataType::kBF16}) {
      for (const std::size_t k : {std::size_t{2}, std::size_t{3}, std::size_t{4}}) {
        points.push_back(
            {std::string(name_of(type)) + " sum k=" + std::to_string(k) + suffix, static_cast<double>(k + 1) * size,
             [=] {
               kernels::reduce(type, ReduceOp::kSum, dst, {sources.data(), k}, bytes / size_of(type), store);
             }});
      }
    }
  }
  add_lists(points, bytes, dst, allocate(bytes), allocate(bytes));
  for (int r = 0; r < repeats; ++r) {
    for (Point& point : points) {
      const Instant start = now();
      point.run();
      point.times_ns.push_back(static_cast<double>((now() - start).ns));
    }
  }
  std::printf("target %s, %zu MiB, median of %d\n%-28s %8s %8s %10s %10s %10s\n", kernels::target_name(), mib, repeats, "", "ms", "GB/s",
              "best GB/s", "of memcpy", "of a copy");
  const auto best_gbs = [](const Point& point) {
    return point.traffic_bytes / *std::min_element(point.times_ns.begin(), point.times_ns.end());
  };
  double copied = 0;
  for (const Point& point : points)
    if (point.name.starts_with("copy") || point.name == "memcpy") copied = std::max(copied, best_gbs(point));
  for (const Point& point : points) {
    const double ns = median(point.times_ns), best = best_gbs(point);
    std::printf("%-28s %8.2f %8.1f %10.1f %9.0f%% %9.0f%%\n", point.name.c_str(), ns / 1e6, point.traffic_bytes / ns, best,
                100 * best / best_gbs(points.front()), 100 * best / copied);
  }
  small_calls(dst, sources);
  return 0;
}

// device_perf: what the kernels of a device move in a second, beside what its own copy does in the same run.
//
// Every kernel's rounds alternate with the copy's; both are medians. share: the kernel's traffic over the copy's. --gemm N: also
// how much slower a product of N x N matrices of bf16 gets beside the first reduction.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "bench/device/beside.h"
#include "bench/stats.h"
#include "bench/text.h"
#include "kernels/open_device.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

constexpr Duration kBound = Duration::from_s(60);  // for one round

struct Line {
  std::string device = "cuda:0", bytes = "256M", json;
  std::vector<std::uint32_t> ctas{2, 4, 16, 132, 1056};
  int rounds = 7, launches = 20;
  std::size_t gemm = 0;
  std::string cublas;
};

// Seconds of one launch, over a round of them.
Result<double> round(device::Stream& stream, const DeviceCase& what, std::uint32_t ctas, int launches) {
  const Instant begin = now();
  for (int i = 0; i < launches; ++i)
    if (Status s = what.queue(stream, ctas); !s) return s.error();
  if (Status s = stream.finish(begin + kBound); !s) return s.error();
  return static_cast<double>((now() - begin).ns) / 1e9 / launches;
}

Status measure(device::Device& device, const Line& line, std::size_t bytes, nlohmann::json& rows) {
  const auto buffers = DeviceBuffers::make(device, bytes);
  if (!buffers) return buffers.error();
  auto stream = device.make_stream();
  if (!stream) return stream.error();
  const DeviceCase copy = (*buffers)->own_copy();
  std::printf("%-24s %6s %12s %10s %10s %7s\n", "kernel", "CTAs", "us", "GB/s", "copy GB/s", "share");
  for (const DeviceCase& kernel : (*buffers)->kernels())
    for (const std::uint32_t ctas : line.ctas) {
      std::vector<double> ours, its;
      for (int i = 0; i <= line.rounds; ++i) {  // the first one only warms up
        const Result<double> a = round(**stream, kernel, ctas, line.launches), b = round(**stream, copy, ctas, line.launches);
        if (!a) return a.error();
        if (!b) return b.error();
        if (i != 0) ours.push_back(*a), its.push_back(*b);
      }
      const Summary us = summarize(ours), peer = summarize(its);
      const double gbs = kernel.traffic / us.median / 1e9, copied = copy.traffic / peer.median / 1e9;
      std::printf("%-24s %6u %12.1f %10.1f %10.1f %6.0f%%\n", kernel.name.c_str(), ctas, us.median * 1e6, gbs, copied, 100 * gbs / copied);
      std::fflush(stdout);
      rows.push_back({{"kernel", kernel.name}, {"ctas", ctas}, {"us", us.median * 1e6}, {"us_min", us.min * 1e6}, {"us_max", us.max * 1e6},
                      {"gbs", gbs}, {"copy_gbs", copied}, {"share", gbs / copied}});
    }
  return {};
}

Status measure_gemm(device::Device& device, const Line& line, std::size_t bytes, nlohmann::json& rows) {
  const auto buffers = DeviceBuffers::make(device, bytes);
  if (!buffers) return buffers.error();
  const auto gemm = Gemm::make(device, line.gemm, line.cublas);
  if (!gemm) return gemm.error();
  const std::vector<DeviceCase> kernels = (*buffers)->kernels();
  const auto reduce = std::find_if(kernels.begin(), kernels.end(), [](const DeviceCase& c) { return c.name.starts_with("reduce"); });
  return measure_beside(device, **gemm, *reduce, {line.ctas, line.rounds, line.launches}, rows);
}

}  // namespace

int main(int argc, char** argv) {
  Line line;
  CLI::App app{"What a device's kernels move in a second, beside its own copy."};
  app.add_option("--device", line.device, "cuda:N, or host: the simulated one")->capture_default_str();
  app.add_option("--bytes", line.bytes, "of a buffer; there are five")->capture_default_str();
  app.add_option("--ctas", line.ctas, "blocks of a launch, several with commas")->delimiter(',')->check(CLI::Range(1, 65535))->capture_default_str();
  app.add_option("--rounds", line.rounds, "of the kernel and of the copy in turn")->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--launches", line.launches, "in a round")->check(CLI::Range(1, 100000))->capture_default_str();
  app.add_option("--gemm", line.gemm, "also a product of matrices of so many rows and columns beside a reduction; 0: none")
      ->check(CLI::Range(0, 32768));
  app.add_option("--cublas", line.cublas, "the library for it (default: libcublas.so.13 or .12)");
  app.add_option("--json", line.json, "file to write the rows to");
  CLI11_PARSE(app, argc, argv);
  const auto fail = [](const Error& e) {
    std::fprintf(stderr, "device_perf: error: %s\n", e.detail.c_str());
    return e.code == Code::kUnavailable || e.code == Code::kUnsupported ? 2 : 1;
  };
  const Result<std::size_t> bytes = parse_bytes(line.bytes);
  if (!bytes) return fail(bytes.error());
  if (*bytes < 4096 || *bytes % 4096 != 0) return fail({Code::kConfig, "--bytes: a multiple of 4096 is needed"});
  const auto device = device::open_device(line.device);
  if (!device) return fail(device.error());
  nlohmann::json all = {{"device", (*device)->name()}, {"bytes", *bytes}, {"rounds", line.rounds}, {"launches", line.launches},
                        {"rows", nlohmann::json::array()}};
  std::printf("# %s, buffers of %s, medians of %d rounds of %d launches\n", (*device)->name(), format_bytes(*bytes).c_str(), line.rounds,
              line.launches);
  if (Status s = measure(**device, line, *bytes, all["rows"]); !s) return fail(s.error());
  if (line.gemm != 0)
    if (Status s = measure_gemm(**device, line, *bytes, all["beside"]); !s) {
      if (s.code() != Code::kUnavailable) return fail(s.error());
      std::printf("# no product of matrices: %s\n", s.error().detail.c_str());  // the rest is measured all the same
      all["beside"] = s.error().detail;
    }
  if (!line.json.empty() && !(std::ofstream(line.json) << all.dump(1) << '\n'))
    return fail({Code::kConfig, "--json: cannot write " + line.json});
  return 0;
}

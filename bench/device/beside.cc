#include "bench/device/beside.h"

#include <cstdio>

#include "base/clock.h"
#include "bench/stats.h"

namespace regroup::bench {
namespace {

constexpr Duration kBound = Duration::from_s(60);  // of one round
constexpr int kAhead = 4;                          // launches that are queued when the device has done with the last

// A round of products, with the kernel on another stream all the while (ctas 0: without). Seconds of one product.
class Round {
 public:
  static Result<Round> make(device::Device& device) {
    Round r;
    for (auto* stream : {&r.products_, &r.beside_}) {
      auto made = device.make_stream();
      if (!made) return made.error();
      *stream = std::move(*made);
    }
    for (auto* event : {&r.done_, &r.idle_}) {
      auto made = device.make_event();
      if (!made) return made.error();
      *event = std::move(*made);
    }
    return r;
  }
  Result<double> run(Gemm& gemm, int products, const DeviceCase& kernel, std::uint32_t ctas) {
    launches_ = 0;
    if (ctas != 0)
      if (Status s = launch(kernel, ctas); !s) return s.error();
    const Instant begin = now();
    for (int i = 0; i < products; ++i)
      if (Status s = gemm.queue(*products_); !s) return s.error();
    if (Status s = products_->record(*done_); !s) return s.error();
    for (;;) {
      const Result<bool> done = done_->reached(), idle = idle_->reached();
      if (!done) return done.error();
      if (!idle) return idle.error();
      if (*done) break;
      if (now() - begin > kBound) return {Code::kTimeout, "the products do not end"};
      if (ctas != 0 && *idle)
        if (Status s = launch(kernel, ctas); !s) return s.error();
    }
    const double took = static_cast<double>((now() - begin).ns) / 1e9 / products;
    if (Status s = beside_->finish(now() + kBound); !s) return s.error();
    return took;
  }
  [[nodiscard]] int launches() const { return launches_; }

 private:
  // Half of them are done when the next are queued, so the device never runs out.
  Status launch(const DeviceCase& kernel, std::uint32_t ctas) {
    for (int i = 0; i < kAhead; ++i) {
      if (Status s = kernel.queue(*beside_, ctas); !s) return s;
      if (i == kAhead / 2 - 1)
        if (Status s = beside_->record(*idle_); !s) return s;
    }
    launches_ += kAhead;
    return {};
  }
  std::unique_ptr<device::Stream> products_, beside_;
  std::unique_ptr<device::Event> done_, idle_;
  int launches_ = 0;
};

}  // namespace

Status measure_beside(device::Device& device, Gemm& gemm, const DeviceCase& kernel, const Beside& how, nlohmann::json& rows) {
  Result<Round> round = Round::make(device);
  if (!round) return round.error();
  std::printf("%-24s %6s %12s %12s %9s  (product: %s)\n", ("beside " + kernel.name).c_str(), "CTAs", "alone us", "beside us", "slower",
              gemm.name());
  for (const std::uint32_t ctas : how.ctas) {
    std::vector<double> alone, beside;
    int launches = 0;
    for (int i = 0; i <= how.rounds; ++i) {  // the first one only warms up
      const Result<double> a = round->run(gemm, how.products, kernel, 0), b = round->run(gemm, how.products, kernel, ctas);
      if (!a) return a.error();
      if (!b) return b.error();
      if (i != 0) alone.push_back(*a), beside.push_back(*b), launches += round->launches();
    }
    const double a = summarize(alone).median, b = summarize(beside).median;
    std::printf("%-24s %6u %12.1f %12.1f %8.1f%%\n", "", ctas, a * 1e6, b * 1e6, 100 * (b / a - 1));
    std::fflush(stdout);
    rows.push_back({{"gemm", gemm.name()}, {"kernel", kernel.name}, {"ctas", ctas}, {"alone_us", a * 1e6}, {"beside_us", b * 1e6},
                    {"slow_down", b / a - 1}, {"kernel_launches", launches}});
  }
  return {};
}

}  // namespace regroup::bench

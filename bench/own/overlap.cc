#include "bench/own/overlap.h"

#include <algorithm>
#include <array>

#include "bench/calls.h"
#include "bench/checked_call.h"
#include "bench/clock.h"
#include "bench/make_call.h"
#include "bench/own/experiment_run.h"
#include "bench/stats.h"

namespace regroup::bench {
namespace {

// Multiply-adds on a few cache lines: what a trainer's thread does beside.
class Compute {
 public:
  void run(std::uint64_t rounds) {
    for (std::uint64_t r = 0; r < rounds; ++r) {
      for (double& x : values_) x = x * 0.999999 + 1e-6;
    }
    asm volatile("" : : "r"(values_.data()) : "memory");  // the values count as used
  }
  // Rounds that take about so long on this thread.
  std::uint64_t rounds_for(double us) {
    std::uint64_t rounds = 16;
    for (;; rounds *= 2) {
      const std::int64_t begin = now_ns();
      run(rounds);
      const double took = static_cast<double>(now_ns() - begin) / 1e3;
      if (took > 200)
        return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(us / took * static_cast<double>(rounds)));
    }
  }

 private:
  std::array<double, 512> values_{};
};

class Overlap {
 public:
  Overlap(const Collective& collective, const Arguments& arguments, int in_flight, Seat& seat, const RowSpec& spec,
          std::uint64_t& seed)
      : collective_(collective),
        arguments_(arguments),
        seat_(seat),
        seed_(seed),
        call_(
            make_call(collective, arguments, spec, seat.group(), seat.view(), seat.buffers(), arguments.in_place_only)),
        calls_(collective, mode_of(call_, in_flight)),
        pieces_(calls_.pieces_of(call_)) {}

  Result<FigureRow> measure() {
    const auto start_all = [&] { return start(pieces_); };
    const auto single = median_of([&] {
      Status status = judge(collective_.run(call_));
      return status.ok() ? seen() : status;
    });
    if (!single.ok()) return single.error();
    const auto flying = median_of([&] { return finish(start_all()); });
    if (!flying.ok()) return flying.error();
    const std::uint64_t rounds = compute_.rounds_for(*flying);
    const auto compute = median_of([&] { return compute_.run(rounds), Status{}; });
    if (!compute.ok()) return compute.error();
    const auto both = median_of([&] {
      std::vector<Work> works = start_all();
      compute_.run(rounds);
      return finish(std::move(works));
    });
    if (!both.ok()) return both.error();
    FigureRow out;
    out.row.count = call_.count;
    out.row.bytes = call_.count * size_of(call_.type);
    out.figures = {{"ops", "n", static_cast<double>(pieces_.size())},
                   {"single", "us", *single},
                   {"inflight", "us", *flying},
                   {"rate", "%", *flying > 0 ? 100 * *single / *flying : 0},
                   {"compute", "us", *compute},
                   {"both", "us", *both},
                   {"overlap", "%", overlap_percent(*flying, *compute, *both)}};
    if (Status s = check(out); !s.ok()) return s.error();
    return out;
  }

 private:
  static CallMode mode_of(const Call& call, int in_flight) {
    CallMode mode;
    const std::size_t unit = size_of(call.type);
    const auto n = static_cast<std::size_t>(in_flight);
    mode.cut_bytes = std::max<std::size_t>((call.count + n - 1) / n, 1) * unit;
    return mode;
  }

  std::vector<Work> start(const std::vector<Call>& ops) {
    std::vector<Work> works;
    for (const Call& op : ops) works.push_back(collective_.start(op));
    return works;
  }
  static Status judge(const Result<Outcome>& outcome) {
    return outcome.ok() ? Status{} : Status(error_of("op", outcome.error()));
  }
  // The stream of buffers on a device has seen the result.
  [[nodiscard]] Status seen() const { return call_.side == nullptr ? Status{} : call_.side->finish(); }
  Status finish(std::vector<Work> works) const {
    Status status;
    for (Work& work : works) {
      if (Status s = judge(work.wait()); !s.ok()) status = s;
    }
    return status.ok() ? seen() : status;
  }

  // Of the worst rank's time, over the iterations; a barrier before each.
  template <typename F>
  Result<double> median_of(F act) {
    std::vector<double> times_us;
    if (Status s = fill_input(collective_, seat_, call_, ++seed_); !s.ok()) return s.error();
    for (int i = -arguments_.warmup; i < arguments_.iterations; ++i) {
      if (Status s = seat_.barrier(); !s.ok()) return s.error();
      const std::int64_t begin = now_ns();
      if (Status s = act(); !s.ok()) return s.error();
      auto worst = seat_.agree(static_cast<double>(now_ns() - begin) / 1e3, ReduceOp::kMax);
      if (!worst.ok()) return worst.error();
      if (i >= 0) times_us.push_back(*worst);
    }
    return summarize(times_us).median;
  }

  Status check(FigureRow& out) {
    for (int i = 0; i < arguments_.checks; ++i) {
      auto wrong = checked_call(collective_, seat_, call_, ++seed_, arguments_.in_place_only, [&] {
        std::vector<Work> works = start(pieces_);
        compute_.run(1000);
        for (std::size_t w = 0; w + 1 < works.size(); ++w) {
          if (auto outcome = works[w].wait(); !outcome.ok()) return outcome;
        }
        return works.back().wait();
      });
      if (!wrong.ok()) return wrong.error();
      out.wrong += *wrong;
      out.checked = true;
    }
    return {};
  }

  const Collective& collective_;
  const Arguments& arguments_;
  Seat& seat_;
  std::uint64_t& seed_;
  const Call call_;
  Calls calls_;
  const std::vector<Call> pieces_;
  Compute compute_;
};

}  // namespace

double overlap_percent(double alone_us, double compute_us, double both_us) {
  const double shorter = std::min(alone_us, compute_us);
  return shorter > 0 ? 100 * (alone_us + compute_us - both_us) / shorter : 0;
}

int measure_overlap(const Collective& collective, const Arguments& a, int in_flight,
                    const std::vector<std::string>& command, const ThreadRank* thread) {
  std::uint64_t seed = 0;
  const std::string about = "size: of the single op, and of " + std::to_string(in_flight) +
                            " ops in flight together; compute: a loop as long as these, on the calling thread";
  return run_measure(collective, a, command, thread, about, [&](Seat& seat, const RowSpec& spec) {
    return Overlap(collective, a, in_flight, seat, spec, seed).measure();
  });
}

}  // namespace regroup::bench

#include "bench/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "bench/arguments_check.h"
#include "bench/text.h"

namespace regroup::bench {
namespace {

std::vector<DataType> all_types() {
  std::vector<DataType> out;
  for (int i = 0; i < kDataTypeCount; ++i) out.push_back(static_cast<DataType>(i));
  return out;
}

// One of these by its nccl-tests name, or all of them.
template <typename E>
Result<std::vector<E>> parse_names(const char* what, const std::string& text, const std::vector<E>& all) {
  std::vector<E> out;
  std::string known;
  for (const E& each : all) {
    const char* name = name_of(each);
    known += std::string(known.empty() ? "" : ", ") + name;
    if (text == name || text == "all") out.push_back(each);
  }
  if (out.empty()) return {Code::kInvalid, std::string(what) + " '" + text + "' is not one of " + known + ", all"};
  return out;
}

// "2@50" or "2@50+1.5"; the latter for stops only.
Result<Fault> parse_fault(const char* flag, const std::string& text, bool stops) {
  Fault fault;
  fault.stops = stops;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, fault.rank);
  bool good = error == std::errc() && at != end && *at == '@' && fault.rank >= 0;
  if (good) {
    auto [rest, wrong] = std::from_chars(at + 1, end, fault.at);
    good = wrong == std::errc();
    if (good && rest != end) {
      auto [last, bad] = std::from_chars(*rest == '+' && stops ? rest + 1 : end, end, fault.seconds);
      good = bad == std::errc() && last == end && fault.seconds > 0 && fault.seconds <= 60;
    }
  }
  if (good) return fault;
  return {Code::kInvalid,
          std::string(flag) + " '" + text + "': expected RANK@ITER" + (stops ? "[+SECONDS, at most 60]" : "")};
}

Status parse_faults(const char* flag, const std::vector<std::string>& texts, bool stops, std::vector<Fault>& into) {
  for (const std::string& text : texts) {
    auto fault = parse_fault(flag, text, stops);
    if (!fault.ok()) return fault.error();
    into.push_back(*fault);
  }
  return {};
}

}  // namespace

Result<Arguments> parse_arguments(const Collective& collective, int argc, const char* const* argv,
                                  const CommandLine& line) {
  Arguments a;
  a.step_factor = line.step_factor;
  a.iterations = line.iterations;
  std::string min_bytes = line.min_bytes, max_bytes = line.max_bytes, step_bytes = "1M", cut_bytes = "0",
              type = "float", op = "sum";
  std::vector<std::string> kills, stops;
  int local_register = 0;
  CLI::App app{"Times a collective of Regroup; flags and table are those of nccl-tests.", collective.program};
  app.add_option("-b,--minbytes", min_bytes, "smallest size: bytes, K, M, G")->capture_default_str();
  app.add_option("-e,--maxbytes", max_bytes, "largest size; default: the smallest");
  app.add_option("-i,--stepbytes", step_bytes, "bytes added from size to size")->capture_default_str();
  app.add_option("-f,--stepfactor", a.step_factor, "factor from size to size; above 1 it goes before -i");
  app.add_option("-n,--iters", a.iterations, "timed calls")->check(CLI::Range(1, 10'000'000))->capture_default_str();
  app.add_option("-w,--warmup_iters", a.warmup, "calls before")->check(CLI::Range(0, 1'000'000))->capture_default_str();
  app.add_option("-c,--check", a.checks, "checked calls a side, 0: none")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("-d,--datatype", type, "double float half bfloat16 int8 uint8 int32 uint32 int64 uint64, or all");
  app.add_option("-o,--op", op, "sum avg prod min max mulsum, or all");
  app.add_option("-a,--average", a.average, "time over ranks: 0 rank 0, 1 mean, 2 min, 3 max")->check(CLI::Range(0, 3));
  app.add_option("-z,--blocking", a.blocking, "1, 2, 3: each call waits (default 1); 0: calls in flight")
      ->check(CLI::Range(0, 3));
  app.add_option("-r,--root", a.root, "root of rooted collectives; -1: every rank in turn")->capture_default_str();
  app.add_option("-m,--agg_iters", a.aggregate, "calls launched as one")->check(CLI::Range(1, 1000));
  app.add_option("-N,--run_cycles", a.cycles, "how often all rows are run")->check(CLI::Range(1, 100'000));
  app.add_option("-u,--unalign", a.unalign, "shift the buffers by this many elements")->check(CLI::Range(0, 500));
  app.add_option("-R,--local_register", local_register, "1 or 2: --registered")->check(CLI::Range(0, 2));
  app.add_option("-J,--output_file", a.json, "write JSON; an existing file gets a suffix");
  int one = 1, zero = 0, any = 0;  // scripts give -g 1 and -t 1: --threads is ours
  app.add_option("-g,--ngpus", one, "accepted for scripts: 1")->check(CLI::Range(1, 1));
  app.add_option("-t,--nthreads", one, "accepted for scripts: 1")->check(CLI::Range(1, 1));
  app.add_option("-p,--parallel_init", any, "accepted for scripts: 0 or 1")->check(CLI::Range(0, 1));
  app.add_option("-y,--stream_null", any, "accepted for scripts: 0 or 1")->check(CLI::Range(0, 1));
  app.add_option("-G,--cudagraph", zero, "accepted for scripts: 0")->check(CLI::Range(0, 0));
  app.add_option("-C,--report_cputime", zero, "accepted for scripts: 0")->check(CLI::Range(0, 0));
  app.add_option("-S,--report_timestamps", zero, "accepted for scripts: 0")->check(CLI::Range(0, 0));
  app.add_option("--ranks", a.ranks, "start this many processes here (else: regroup run, torchrun, mpirun)")
      ->check(CLI::Range(1, 64));
  app.add_option("--threads", a.threads, "as many ranks as threads of this process, a group each")->check(CLI::Range(1, 64));
  app.add_option("--device", a.device, "buffers on a device, calls on a stream of it: cuda:N, or host, the simulated one");
  app.add_option("--transport", a.transport, "shm, tcp, ucx or auto");
  app.add_flag("--registered", a.registered, "buffers from Group::allocate");
  app.add_flag("--no-commit", a.no_commit, "without the commit rule: for comparison only, gives up agreement");
  app.add_option("--cut", cut_bytes, "cut a call into pieces of so many bytes, each an op of its own");
  app.add_flag("--grouped", a.grouped, "with --cut: the pieces of a call are launched as one");
  app.add_flag("--output-scratch", a.output_scratch, "outputs may be written before the commit; skips the in-place side");
  app.add_flag("--bind", a.bind, "each rank's calling thread on a core of its own");
  app.add_flag("--in-place-only", a.in_place_only, "skip the out-of-place side");
  app.add_flag("--out-of-place-only", a.out_of_place_only, "skip the in-place side");
  app.add_option("--reps", a.repetitions, "timed sections a side; the table shows the median")
      ->check(CLI::Range(1, 1000));
  app.add_option("--seconds", a.seconds, "choose -n so that a side takes about this long")
      ->check(CLI::Range(0.0, 600.0));
  app.add_option("-T,--timeout", a.timeout_s, "bound of every wait, seconds")->check(CLI::Range(1.0, 3600.0));
  app.add_flag("!--no-probe", a.probe, "skip the near/far probe");
  app.add_option("--kill", kills, "R@ITER: rank R kills itself inside the ITER-th timed call of the run")
      ->allow_extra_args(false);
  app.add_option("--stop", stops, "R@ITER[+SECONDS]: it stops itself, and goes on after 3 seconds")
      ->allow_extra_args(false);
  app.add_option("--join", a.join_at, "ITER: who was killed returns; that call is repeated until all are there")
      ->check(CLI::Range(std::int64_t{0}, std::int64_t{1'000'000'000}));
  for (const ExtraFlag& flag : line.extra) {
    app.add_option(flag.name, *flag.value, flag.help)->check(CLI::Range(flag.least, flag.most))->capture_default_str();
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    a.help = app.help();
    return a;
  } catch (const CLI::ParseError& error) {
    return {Code::kInvalid, error.what()};
  }
  if (max_bytes.empty() || (app.count("-b") > 0 && app.count("-e") == 0)) max_bytes = min_bytes;
  struct {
    const char* flag;
    const std::string& text;
    std::size_t& into;
  } sizes[] = {{"-b", min_bytes, a.min_bytes},
               {"-e", max_bytes, a.max_bytes},
               {"-i", step_bytes, a.step_bytes},
               {"--cut", cut_bytes, a.cut_bytes}};
  for (auto& size : sizes) {
    auto bytes = parse_bytes(size.text);
    if (!bytes.ok()) return {Code::kInvalid, std::string(size.flag) + ": " + bytes.error().detail};
    size.into = *bytes;
  }
  auto types = parse_names("-d", type, all_types());
  if (!types.ok()) return types.error();
  auto ops = parse_names("-o", op, all_reductions());
  if (!ops.ok()) return ops.error();
  a.types = *types;
  a.ops = *ops;
  a.registered = a.registered || local_register > 0;
  if (Status s = parse_faults("--kill", kills, false, a.faults); !s.ok()) return s.error();
  if (Status s = parse_faults("--stop", stops, true, a.faults); !s.ok()) return s.error();
  std::stable_sort(a.faults.begin(), a.faults.end(), [](const Fault& x, const Fault& y) { return x.at < y.at; });
  if (Status status = check_arguments(collective, a); !status.ok()) return status.error();
  return a;
}

}  // namespace regroup::bench

#include "bench/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "bench/text.h"

namespace regroup::bench {
namespace {

// A value of one of our enumerations by its nccl-tests name, or all of them.
template <typename E>
Result<std::vector<E>> parse_names(const char* what, const std::string& text, int count) {
  std::vector<E> out;
  std::string known;
  for (int i = 0; i < count; ++i) {
    const char* name = name_of(static_cast<E>(i));
    known += std::string(i == 0 ? "" : ", ") + name;
    if (text == name || text == "all") out.push_back(static_cast<E>(i));
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

Status check_failure_run(const Arguments& a) {
  if (!a.is_failure_run()) return {};
  if (a.ranks < 2)
    return {Code::kInvalid, "--kill, --stop and --join need --ranks of 2 or more: the bench owns the ranks"};
  if (a.no_commit) return {Code::kInvalid, "--no-commit gives up agreement: not with --kill, --stop or --join"};
  if (a.blocking == 0 || a.aggregate > 1 || a.cut_bytes > 0 || a.seconds > 0 || a.repetitions > 1 || a.cycles > 1) {
    return {Code::kInvalid, "-z 0, -m, -N, --cut, --seconds and --reps have no meaning with --kill, --stop and --join"};
  }
  std::vector<bool> gone(static_cast<std::size_t>(a.ranks));
  for (const Fault& fault : a.faults) {
    if (fault.rank >= a.ranks) {
      return {Code::kInvalid, (fault.stops ? "--stop " : "--kill ") + std::to_string(fault.rank) + ": there are " +
                                  std::to_string(a.ranks) + " ranks"};
    }
    if (gone[static_cast<std::size_t>(fault.rank)]) {
      return {Code::kInvalid, "--kill, --stop: rank " + std::to_string(fault.rank) + " is named twice"};
    }
    gone[static_cast<std::size_t>(fault.rank)] = true;
  }
  if (std::find(gone.begin(), gone.end(), false) == gone.end()) {
    return {Code::kInvalid, "--kill, --stop: no rank would be left"};
  }
  if (a.join_at >= 0 && a.faults.empty()) return {Code::kInvalid, "--join: nobody is gone: give --kill or --stop too"};
  for (const Fault& fault : a.faults) {
    if (a.join_at >= 0 && static_cast<std::uint64_t>(a.join_at) <= fault.at) {
      return {Code::kInvalid, "--join " + std::to_string(a.join_at) + " must come after every --kill and --stop"};
    }
  }
  return {};
}

Status check(const Collective& collective, const Arguments& a) {
  if (a.cut_bytes > 0 && !collective.cuttable) {
    return {Code::kInvalid, std::string("--cut has no meaning for ") + collective.program +
                                ": a range of its buffers is not the same collective"};
  }
  if (a.grouped && a.cut_bytes == 0) return {Code::kInvalid, "--grouped needs --cut"};
  if (a.root < -1) return {Code::kInvalid, "-r " + std::to_string(a.root) + ": -1 (every rank in turn), 0 or above"};
  if (a.ranks > 0 && a.root >= a.ranks && collective.rooted) {
    return {Code::kInvalid, "-r " + std::to_string(a.root) + ": there are " + std::to_string(a.ranks) + " ranks"};
  }
  if (Status s = check_failure_run(a); !s.ok()) return s;
  if (a.max_bytes < a.min_bytes) return {Code::kInvalid, "-e (maxbytes) is below -b (minbytes)"};
  if (a.max_bytes > a.min_bytes && a.step_factor <= 1 && a.step_bytes == 0) {
    return {Code::kInvalid, "between -b and -e there must be a step: -i above 0 or -f above 1"};
  }
  if (!a.transport.empty() && a.transport != "shm" && a.transport != "tcp" && a.transport != "auto") {
    return {Code::kInvalid, "--transport '" + a.transport + "' is not one of shm, tcp, auto"};
  }
  return {};
}

}  // namespace

Result<Arguments> parse_arguments(const Collective& collective, int argc, const char* const* argv) {
  Arguments a;
  std::string min_bytes = "32M", max_bytes, step_bytes = "1M", cut_bytes = "0", type = "float", op = "sum";
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
  app.add_option("-o,--op", op, "sum avg prod min max, or all");
  app.add_option("-a,--average", a.average, "time over ranks: 0 rank 0, 1 mean, 2 min, 3 max")->check(CLI::Range(0, 3));
  app.add_option("-z,--blocking", a.blocking, "1, 2, 3: each call waits (default 1); 0: calls in flight")
      ->check(CLI::Range(0, 3));
  app.add_option("-r,--root", a.root, "root of rooted collectives; -1: every rank in turn")->capture_default_str();
  app.add_option("-m,--agg_iters", a.aggregate, "calls launched as one")->check(CLI::Range(1, 1000));
  app.add_option("-N,--run_cycles", a.cycles, "how often all rows are run")->check(CLI::Range(1, 100'000));
  app.add_option("-u,--unalign", a.unalign, "shift the buffers by this many elements")->check(CLI::Range(0, 500));
  app.add_option("-R,--local_register", local_register, "1 or 2: --registered")->check(CLI::Range(0, 2));
  app.add_option("-J,--output_file", a.json, "write JSON; an existing file gets a suffix");
  int one = 1, zero = 0, any = 0;  // scripts give -g 1 and -t 1: here a rank is a process and nothing else
  app.add_option("-g,--ngpus", one, "accepted for scripts: 1")->check(CLI::Range(1, 1));
  app.add_option("-t,--nthreads", one, "accepted for scripts: 1")->check(CLI::Range(1, 1));
  app.add_option("-p,--parallel_init", any, "accepted for scripts: 0 or 1")->check(CLI::Range(0, 1));
  app.add_option("-y,--stream_null", any, "accepted for scripts: 0 or 1")->check(CLI::Range(0, 1));
  app.add_option("-G,--cudagraph", zero, "accepted for scripts: 0")->check(CLI::Range(0, 0));
  app.add_option("-C,--report_cputime", zero, "accepted for scripts: 0")->check(CLI::Range(0, 0));
  app.add_option("-S,--report_timestamps", zero, "accepted for scripts: 0")->check(CLI::Range(0, 0));
  app.add_option("--ranks", a.ranks, "start this many processes here (else: regroup run, torchrun)")
      ->check(CLI::Range(1, 64));
  app.add_option("--transport", a.transport, "shm, tcp or auto");
  app.add_flag("--registered", a.registered, "buffers from Group::allocate");
  app.add_flag("--no-commit", a.no_commit, "without the commit rule: for comparison only, gives up agreement");
  app.add_option("--cut", cut_bytes, "cut a call into pieces of so many bytes, each an op of its own");
  app.add_flag("--grouped", a.grouped, "with --cut: the pieces of a call are launched as one");
  app.add_flag("--bind", a.bind, "each rank's calling thread on a core of its own");
  app.add_flag("--in-place-only", a.in_place_only, "skip the out-of-place side");
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
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    a.help = app.help();
    return a;
  } catch (const CLI::ParseError& error) {
    return {Code::kInvalid, error.what()};
  }
  if (max_bytes.empty()) max_bytes = min_bytes;
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
  auto types = parse_names<DataType>("-d", type, kDataTypeCount);
  if (!types.ok()) return types.error();
  auto ops = parse_names<ReduceOp>("-o", op, kReduceOpCount);
  if (!ops.ok()) return ops.error();
  a.types = *types;
  a.ops = *ops;
  a.registered = a.registered || local_register > 0;
  if (Status s = parse_faults("--kill", kills, false, a.faults); !s.ok()) return s.error();
  if (Status s = parse_faults("--stop", stops, true, a.faults); !s.ok()) return s.error();
  std::stable_sort(a.faults.begin(), a.faults.end(), [](const Fault& x, const Fault& y) { return x.at < y.at; });
  if (Status status = check(collective, a); !status.ok()) return status.error();
  return a;
}

std::vector<std::size_t> sizes_of(const Arguments& a, DataType type) {
  std::vector<std::size_t> out;
  const std::size_t unit = size_of(type);
  double size = static_cast<double>(a.min_bytes);
  while (size <= static_cast<double>(a.max_bytes)) {
    const std::size_t whole = std::max(static_cast<std::size_t>(size) / unit * unit, unit);
    if (out.empty() || out.back() != whole) out.push_back(whole);
    const double next =
        a.step_factor > 1 ? std::max(size, 1.0) * a.step_factor : size + static_cast<double>(a.step_bytes);
    if (next <= size) break;
    size = next;
  }
  return out;
}

BufferBytes buffer_bytes(const Collective& collective, const Arguments& a, std::size_t ranks) {
  BufferBytes out;
  for (DataType type : a.types) {
    const std::size_t unit = size_of(type);
    const std::size_t count = collective.count(sizes_of(a, type).back() / unit, unit, ranks);
    const Shape shape = collective.shape(count, ranks, 0);
    const std::size_t shift = static_cast<std::size_t>(a.unalign) * unit;
    out.in = std::max(out.in, shape.in * unit + shift);
    out.out = std::max(out.out, std::max(shape.in, shape.out) * unit + shift);
  }
  return out;
}

}  // namespace regroup::bench

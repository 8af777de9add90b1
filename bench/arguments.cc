#include "bench/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>

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

Status check(const Arguments& a) {
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

Result<Arguments> parse_arguments(const std::string& program, int argc, const char* const* argv) {
  Arguments a;
  std::string min_bytes = "32M", max_bytes, step_bytes = "1M", type = "float", op = "sum";
  CLI::App app{"Times a collective of Regroup; flags and table are those of nccl-tests.", program};
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
  app.add_option("-z,--blocking", a.blocking, "1: each call waits (default); 0: calls in flight")
      ->check(CLI::Range(0, 1));
  app.add_option("-J,--output_file", a.json, "write JSON; an existing file gets a suffix");
  int one = 1;  // scripts give -g 1 and -t 1: here a rank is a process and nothing else
  app.add_option("-g,--ngpus", one, "accepted for scripts: 1")->check(CLI::Range(1, 1));
  app.add_option("-t,--nthreads", one, "accepted for scripts: 1")->check(CLI::Range(1, 1));
  app.add_option("--ranks", a.ranks, "start this many processes here (else: regroup run, torchrun)")
      ->check(CLI::Range(1, 64));
  app.add_option("--transport", a.transport, "shm, tcp or auto");
  app.add_flag("--registered", a.registered, "buffers from Group::allocate");
  app.add_flag("--no-commit", a.no_commit, "without the commit rule: for comparison only, gives up agreement");
  app.add_flag("--bind", a.bind, "each rank's calling thread on a core of its own");
  app.add_flag("--in-place-only", a.in_place_only, "skip the out-of-place side");
  app.add_option("--reps", a.repetitions, "timed sections a side; the table shows the median")
      ->check(CLI::Range(1, 1000));
  app.add_option("--seconds", a.seconds, "choose -n so that a side takes about this long")
      ->check(CLI::Range(0.0, 600.0));
  app.add_option("-T,--timeout", a.timeout_s, "bound of every wait, seconds")->check(CLI::Range(1.0, 3600.0));
  app.add_flag("!--no-probe", a.probe, "skip the near/far probe");
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
  } sizes[] = {{"-b", min_bytes, a.min_bytes}, {"-e", max_bytes, a.max_bytes}, {"-i", step_bytes, a.step_bytes}};
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
  if (Status status = check(a); !status.ok()) return status.error();
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

}  // namespace regroup::bench

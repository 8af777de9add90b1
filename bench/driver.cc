#include "bench/driver.h"

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "bench/arguments.h"
#include "bench/failure/member.h"
#include "bench/failure/supervise.h"
#include "bench/rank_run.h"
#include "bench/ranks.h"

namespace regroup::bench {

namespace {

// Prints what is wrong, or the help; the exit status then.
std::optional<int> say(const char* program, const Result<Arguments>& arguments) {
  if (!arguments.ok()) {
    std::fprintf(stderr, "%s: error: %s (--help lists the flags)\n", program, arguments.error().detail.c_str());
    return 2;
  }
  if (arguments->help.empty()) return std::nullopt;
  std::fputs(arguments->help.c_str(), stdout);
  return 0;
}

// Takes `--collective NAME` out of the words. kInvalid: there is none of that name.
Result<const Collective*> take_collective(std::vector<const char*>& words) {
  std::string name = "all_reduce";
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (std::string(words[i]) != "--collective") continue;
    if (i + 1 == words.size()) return {Code::kInvalid, "--collective: a name is missing"};
    name = words[i + 1];
    words.erase(words.begin() + static_cast<std::ptrdiff_t>(i), words.begin() + static_cast<std::ptrdiff_t>(i) + 2);
    break;
  }
  if (const Collective* found = find_collective(name); found != nullptr) return found;
  std::string known;
  for (const Collective* each : all_collectives()) known += std::string(known.empty() ? "" : ", ") + each->program;
  return {Code::kInvalid, "--collective '" + name + "' is none of " + known + " (with or without _perf)"};
}

int run_rank_or_all(const char* program, const Arguments& arguments, const std::vector<std::string>& command,
                    const std::function<int(const ThreadRank*)>& rank) {
  if (arguments.threads > 0)
    return run_threads(program, arguments.threads, arguments.probe, [&](const ThreadRank& thread) { return rank(&thread); });
  if (arguments.ranks > 0 && !is_started_rank()) return run_ranks(program, arguments.ranks, command);
  return rank(nullptr);
}

}  // namespace

int run_benchmark(const Collective& collective, int argc, char** argv) {
  const auto arguments = parse_arguments(collective, argc, argv);
  if (auto status = say(collective.program, arguments)) return *status;
  std::vector<std::string> command(argv, argv + argc);
  if (arguments->is_failure_run()) {
    return is_failure_member() ? run_failure_member(collective, *arguments)
                               : run_failure(collective, *arguments, command);
  }
  return run_rank_or_all(collective.program, *arguments, command, [&](const ThreadRank* thread) {
    return RankRun(collective, *arguments, command, thread).run();
  });
}

int run_program(const Program& program, int argc, char** argv) {
  std::vector<const char*> words(argv, argv + argc);
  const auto found = take_collective(words);
  if (!found.ok()) return *say(program.name, Result<Arguments>(found.error()));
  if (program.cuts && !(*found)->cuttable) {
    return *say(program.name,
                Result<Arguments>(Code::kInvalid, std::string("--collective ") + (*found)->program +
                                                      ": a range of its buffers is not the same collective"));
  }
  Collective collective = **found;
  collective.program = program.name;
  auto arguments = parse_arguments(collective, static_cast<int>(words.size()), words.data(), program.line);
  if (arguments.ok() && arguments->help.empty()) {
    if (arguments->is_failure_run()) arguments = {Code::kInvalid, "--kill, --stop and --join have no meaning here"};
  }
  if (auto status = say(program.name, arguments)) return *status;
  const std::vector<std::string> command(argv, argv + argc);
  return run_rank_or_all(program.name, *arguments, command, [&](const ThreadRank* thread) {
    return program.measure(collective, *arguments, command, thread);
  });
}

}  // namespace regroup::bench

// explore: every order of messages, failures and steps of a small world around the production objects of ft/core.
// Exit status: 0 nothing wrong found, 1 a violation or a stuck state, 2 bad usage or the search was cut short.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "ft/core/mutant.h"
#include "tests/model/search.h"
#include "tests/model/walk.h"

namespace {

using namespace regroup::model;

unsigned bits_of(const std::vector<std::string>& names, const std::map<std::string, unsigned>& known) {
  unsigned bits = 0;
  for (const std::string& name : names) {
    auto it = known.find(name);
    if (it == known.end()) throw CLI::ValidationError("unknown kind: " + name);
    bits |= it->second;
  }
  return bits;
}
const std::map<std::string, unsigned> kFaults{
    {"crash", kCrash},     {"suspect", kSuspect},   {"silence", kSilence}, {"slow", kSlow}, {"break", kBreak},
    {"restart", kRestart}, {"withdraw", kWithdraw}, {"lose", kLose},       {"late", kLate}, {"repeat", kRepeat},
    {"stray", kStray},     {"corrupt", kCorrupt},   {"all", kAllFaults}};
const std::map<std::string, unsigned> kAsks{
    {"change", kAskChange}, {"fail", kAskFail}, {"leave", kAskLeave}, {"all", kAllAsks}};

void print(const Verdict& v, const Bounds& b) {
  for (const Found& found : v.found) {
    std::printf("%s\n", found.what.c_str());
    int line = 0;
    for (const std::string& step : found.trace) std::printf("  %3d. %s\n", ++line, step.c_str());
  }
  std::printf("bounds: members %d, joiner %d, ops %d, window %d, asked changes %d, failures %d, plane %s%s%s%s\n",
              b.members, b.joiner, b.ops, b.window, b.views, b.failures,
              b.plane == PlaneModel::kShm   ? "shm"
              : b.plane == PlaneModel::kNet ? "net"
                                            : "out",
              b.formation ? ", from formation" : "", b.lazy_submit ? ", lazy submit" : "",
              b.shape ? ", last op is a shape" : "");
  std::printf("states %zu, steps %zu, depth %zu, ends %zu, violations %zu, stuck %zu, %s, %.1f s\n", v.states, v.steps,
              v.depth, v.goals, v.violations, v.stuck, v.complete ? "complete" : "cut short", v.seconds);
}

}  // namespace

// A wrong rule shows itself with few disturbances or not at all: fewest first, each search to its end, so that the
// trace is short. `faults`: what the caller has asked for, or what the rule needs.
Verdict explore_rule(Bounds b, const RuleInfo& rule, bool own_faults, const Limits& limits, Bounds& shown) {
  b.rule = rule.rule;
  b.window = std::max(b.window, rule.window);
  b.step = std::max(b.step, rule.step);
  b.joiner = b.joiner || rule.joiner;
  b.digests = b.digests || rule.digests;
  b.members = std::min(b.members, kMaxSlots - b.joiner);
  if (b.plane == PlaneModel::kShm) b.plane = rule.plane;
  if (!own_faults) b.faults = rule.faults;
  Verdict v;
  const int views = b.views, failures = b.faults != 0 ? b.failures : 0;
  for (int sum = 0; sum <= views + failures; ++sum)
    for (b.failures = std::max(0, sum - views); b.failures <= std::min(sum, failures); ++b.failures) {
      b.views = sum - b.failures;
      World world(b);
      shown = b;
      v = explore(world, limits);
      if (!v.found.empty()) return v;
    }
  return v;
}

#ifdef REGROUP_MUTANTS
using namespace regroup;
void choose_mutant(const std::string& name) {
  for (const MutantInfo& m : kMutants)
    if (m.name == name) active_mutant = m.mutant;
  if (active_mutant == Mutant::kNone) throw CLI::ValidationError("unknown mutant, see --list-mutants: " + name);
}
#endif

int main(int argc, char** argv) {
  CLI::App app{"Explores every behaviour of a small world around the production protocol objects"};
  Bounds b;
  Limits limits;
  bool list = false;
  std::string name, plane = "shm", expect, walks;
  Walks seeds;
  const RuleInfo* rule = nullptr;
  std::vector<std::string> faults{"all"}, asks{"change"};
  app.add_option("--members", b.members, "members of the first view")->check(CLI::Range(1, 4));
  app.add_option("--views", b.views, "view changes that somebody asks for; failures cause theirs on top")
      ->check(CLI::Range(0, 3));
  app.add_option("--failures", b.failures, "failures, wrong suspicions and wrong timeouts")->check(CLI::Range(0, 4));
  app.add_option("--ops", b.ops, "collectives")->check(CLI::Range(1, kMaxOps));
  app.add_option("--window", b.window, "collectives in flight")->check(CLI::Range(1, 2));
  app.add_option("--step", b.step, "every n-th op is a mark")->check(CLI::Range(1, kMaxOps));
  app.add_option("--plane", plane,
                 "shm: shards stand in peers' segments; net: whole results are held; out: in the callers' outputs")
      ->check(CLI::IsMember({"shm", "net", "out"}));
  app.add_option("--faults", faults,
                 "crash,suspect,silence,slow,break,restart,withdraw,lose,late,repeat,stray (all); corrupt")
      ->delimiter(',');
  app.add_option("--asks", asks, "change,fail,leave")->delimiter(',');
  app.add_flag("--join", b.joiner, "an observer joins");
  app.add_flag("--returning", b.returning, "the joiner is a new incarnation of member 0");
  app.add_flag("--follow", b.follow, "the joiner catches up before it is promoted");
  app.add_flag("--formation", b.formation, "begin before the first hello");
  app.add_flag("--lazy-submit", b.lazy_submit, "submitting is a step of its own");
  app.add_flag("--digests", b.digests, "prepared carries a digest; with --plane net or out, results may be corrupt");
  app.add_flag("--shape", b.shape, "the last op's shape is the membership");
  app.add_option("--rule", name,
                 "follow a wrong rule instead, with what it needs to show (plane, window, marks, a joiner)");
  app.add_flag("--list-rules", list, "print the wrong rules");
#ifdef REGROUP_MUTANTS
  app.add_option_function<std::string>("--mutant", choose_mutant, "explore the core with this seeded bug");
  app.add_flag_callback("--list-mutants", [] {
    for (const MutantInfo& m : kMutants) std::printf("%-24s %s\n", m.name.data(), m.what.data());
    throw CLI::Success();
  });
#endif
  app.add_option("--walks", walks,
                 "A:B: no search, but a random walk for each seed of [A, B), of worlds that the seed draws");
  app.add_option("--expect", expect, "exit 0 only if this is found: G1, G2, ..., stuck; several by commas");
  app.add_option("--max-states", limits.max_states, "cut short there");
  app.add_option("--max-seconds", limits.max_seconds, "cut short then");
  app.add_flag("--quiet", limits.quiet, "no progress on stderr");
  try {
    app.parse(argc, argv);
    b.faults = bits_of(faults, kFaults);
    b.asks = bits_of(asks, kAsks);
    if (b.digests) b.faults |= kCorrupt;
    if (!walks.empty() && std::sscanf(walks.c_str(), "%lu:%lu", &seeds.first, &seeds.end) != 2)
      throw CLI::ValidationError("--walks: A:B");
    if (b.slots() > kMaxSlots) throw CLI::ValidationError("at most 4 members, the joiner included");
    b.plane = plane == "net" ? PlaneModel::kNet : plane == "out" ? PlaneModel::kOut : PlaneModel::kShm;
    for (const RuleInfo& r : rules())
      if (r.name == name) rule = &r;
    if (!name.empty() && rule == nullptr) throw CLI::ValidationError("unknown rule, see --list-rules: " + name);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? 0 : 2;
  }
  if (list) {
    for (const RuleInfo& r : rules())
      std::printf("%-20s %s\n", std::string(r.name).c_str(), std::string(r.what).c_str());
    return 0;
  }
  Verdict v;
  if (!walks.empty()) {
    std::uint64_t seed = 0;
    v = walk(seeds, seed, b);
    if (!v.found.empty())
      std::printf("seed %lu, again by: explore --walks %lu:%lu\n", seed, seed, seed + 1);
    else
      v.complete = true;
  } else if (rule != nullptr) {
    v = explore_rule(b, *rule, app.count("--faults") > 0, limits, b);
  } else {
    World world(b);
    v = explore(world, limits);
  }
  print(v, b);
  if (!expect.empty()) {
    if (v.found.empty()) return 1;
    const std::string kind = v.found.front().what.substr(0, v.found.front().what.find(':'));
    return ("," + expect + ",").find("," + kind + ",") != std::string::npos ? 0 : 1;
  }
  if (!v.found.empty()) return 1;
  return v.complete ? 0 : 2;
}

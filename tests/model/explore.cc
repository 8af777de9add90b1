// explore: every order of messages, failures and steps of a small world around the production objects of ft/core.
// Exit status: 0 nothing wrong found, 1 a violation or a stuck state, 2 bad usage or the search was cut short.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "tests/model/search.h"

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
const std::map<std::string, unsigned> kFaults{{"crash", kCrash},  {"suspect", kSuspect}, {"silence", kSilence},
                                              {"slow", kSlow},    {"break", kBreak},     {"restart", kRestart},
                                              {"all", kAllFaults}};
const std::map<std::string, unsigned> kAsks{
    {"change", kAskChange}, {"fail", kAskFail}, {"leave", kAskLeave}, {"all", kAllAsks}};

void print(const Verdict& v, const Bounds& b) {
  for (const Found& found : v.found) {
    std::printf("%s\n", found.what.c_str());
    int line = 0;
    for (const std::string& step : found.trace) std::printf("  %3d. %s\n", ++line, step.c_str());
  }
  std::printf("bounds: members %d, joiner %d, ops %d, window %d, asked changes %d, failures %d, plane %s%s%s%s\n",
              b.members, b.joiner, b.ops, b.window, b.views, b.failures, b.plane == PlaneModel::kShm ? "shm" : "net",
              b.formation ? ", from formation" : "", b.lazy_submit ? ", lazy submit" : "",
              b.shape ? ", last op is a shape" : "");
  std::printf("states %zu, steps %zu, depth %zu, ends %zu, violations %zu, stuck %zu, %s, %.1f s\n", v.states, v.steps,
              v.depth, v.goals, v.violations, v.stuck, v.complete ? "complete" : "cut short", v.seconds);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Explores every behaviour of a small world around the production protocol objects"};
  Bounds b;
  Limits limits;
  bool list = false;
  std::string rule, plane = "shm", expect;
  std::vector<std::string> faults{"all"}, asks{"change"};
  app.add_option("--members", b.members, "members of the first view")->check(CLI::Range(1, 4));
  app.add_option("--views", b.views, "view changes that somebody asks for; failures cause theirs on top")
      ->check(CLI::Range(0, 3));
  app.add_option("--failures", b.failures, "failures, wrong suspicions and wrong timeouts")->check(CLI::Range(0, 4));
  app.add_option("--ops", b.ops, "collectives")->check(CLI::Range(1, kMaxOps));
  app.add_option("--window", b.window, "collectives in flight")->check(CLI::Range(1, 2));
  app.add_option("--step", b.step, "every n-th op is a mark")->check(CLI::Range(1, kMaxOps));
  app.add_option("--plane", plane, "shm: shards stand in peers' segments; net: whole results are held")
      ->check(CLI::IsMember({"shm", "net"}));
  app.add_option("--faults", faults, "crash,suspect,silence,slow,break,restart (all)")->delimiter(',');
  app.add_option("--asks", asks, "change,fail,leave")->delimiter(',');
  app.add_flag("--join", b.joiner, "an observer joins");
  app.add_flag("--returning", b.returning, "the joiner is a new incarnation of member 0");
  app.add_flag("--formation", b.formation, "begin before the first hello");
  app.add_flag("--lazy-submit", b.lazy_submit, "submitting is a step of its own");
  app.add_flag("--shape", b.shape, "the last op's shape is the membership");
  app.add_option("--rule", rule, "follow a wrong rule instead");
  app.add_flag("--list-rules", list, "print the wrong rules");
  app.add_option("--expect", expect, "exit 0 only if this is found: G1, G2, ..., stuck; several by commas");
  app.add_option("--max-states", limits.max_states, "cut short there");
  app.add_flag("--quiet", limits.quiet, "no progress on stderr");
  try {
    app.parse(argc, argv);
    b.faults = bits_of(faults, kFaults);
    b.asks = bits_of(asks, kAsks);
    if (b.slots() > kMaxSlots) throw CLI::ValidationError("at most 4 members, the joiner included");
    b.plane = plane == "net" ? PlaneModel::kNet : PlaneModel::kShm;
    for (const RuleInfo& r : rules())
      if (r.name == rule) b.rule = r.rule;
    if (!rule.empty() && b.rule == Rule::kNone) throw CLI::ValidationError("unknown rule, see --list-rules: " + rule);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? 0 : 2;
  }
  if (list) {
    for (const RuleInfo& r : rules())
      std::printf("%-20s %s\n", std::string(r.name).c_str(), std::string(r.what).c_str());
    return 0;
  }
  World world(b);
  const Verdict v = explore(world, limits);
  print(v, b);
  if (!expect.empty()) {
    if (v.found.empty()) return 1;
    const std::string kind = v.found.front().what.substr(0, v.found.front().what.find(':'));
    return ("," + expect + ",").find("," + kind + ",") != std::string::npos ? 0 : 1;
  }
  if (!v.found.empty()) return 1;
  return v.complete ? 0 : 2;
}

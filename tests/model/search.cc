#include "tests/model/search.h"

#include <algorithm>
#include <csignal>
#include <cstdio>

#include "base/clock.h"

namespace regroup::model {
namespace {

class Search {
 public:
  Search(World& world, const Limits& limits) : world_(world), limits_(limits), table_(1u << 20, 0) {}

  Verdict run() {
    start_ = now();
    running_ = this;
    const auto before = std::signal(SIGABRT, [](int) { running_->aborted(); });
    add(world_.initial(), 0);
    std::size_t level_end = 1;
    for (std::size_t i = 0; i < states_.size() && verdict_.complete; ++i) {
      if (i == level_end) level_end = states_.size(), ++verdict_.depth;
      first_edge_.push_back(static_cast<std::uint64_t>(edges_.size()));
      const State s = states_[i];
      expanded_ = i;
      world_.successors(s, [&](const Action& action, const State& next, const std::string& violation) {
        ++verdict_.steps;
        const std::uint32_t to = add(next, static_cast<std::uint32_t>(i));
        if (!action.fault) edges_.push_back(to);
        if (!violation.empty() && verdict_.violations == 0) report(violation, to, i);
      });
      if (states_.size() > limits_.max_states) verdict_.complete = false;
      if (i % 4096 == 0) tell(i);
    }
    first_edge_.resize(states_.size() + 1, static_cast<std::uint64_t>(edges_.size()));
    std::signal(SIGABRT, before);
    if (verdict_.complete) look_for_stuck();
    verdict_.states = states_.size();
    verdict_.seconds = static_cast<double>((now() - start_).ns) / 1e9;
    return std::move(verdict_);
  }

 private:
  // A check of the production code failed: the step that did it is the next one after this trace.
  void aborted() {
    std::signal(SIGABRT, SIG_DFL);
    std::printf("a check of the code failed in the step after these\n");
    int line = 0;
    for (const std::string& step : trace_to(expanded_)) std::printf("  %3d. %s\n", ++line, step.c_str());
    std::printf("%s", world_.picture(at_).c_str());
    std::fflush(stdout);
  }

  std::uint32_t add(const State& s, std::uint32_t parent) {
    if (2 * states_.size() > table_.size()) grow();
    const std::uint64_t signature = world_.signature_of(s);
    std::size_t at = signature & (table_.size() - 1);
    for (; table_[at] != 0; at = (at + 1) & (table_.size() - 1))
      if (signatures_[table_[at] - 1] == signature) return table_[at] - 1;
    states_.push_back(s);
    signatures_.push_back(signature);
    parents_.push_back(parent);
    table_[at] = static_cast<std::uint32_t>(states_.size());
    const auto index = static_cast<std::uint32_t>(states_.size() - 1);
    if (const std::string v = world_.violation(s); !v.empty() && verdict_.violations == 0) report(v, index, parent);
    return index;
  }

  void grow() {
    table_.assign(table_.size() * 2, 0);
    for (std::size_t i = 0; i < states_.size(); ++i) {
      std::size_t at = signatures_[i] & (table_.size() - 1);
      while (table_[at] != 0) at = (at + 1) & (table_.size() - 1);
      table_[at] = static_cast<std::uint32_t>(i + 1);
    }
  }

  void report(const std::string& what, std::size_t state, std::size_t from) {
    ++verdict_.violations;
    verdict_.complete = false;
    verdict_.found.push_back({what, trace_to(from, signatures_[state])});
  }

  // A kept state may stand for one with other names: the trace is found again by signatures, with one set of names.
  std::vector<std::string> trace_to(std::size_t state, std::uint64_t last = 0) {
    std::vector<std::uint64_t> path;
    if (last != 0) path.push_back(last);
    for (; state != 0; state = parents_[state]) path.push_back(signatures_[state]);
    std::vector<std::string> trace;
    at_ = states_[0];
    for (; !path.empty(); path.pop_back()) {
      std::string text = "(nothing)";
      State next = at_;
      bool done = false;
      world_.successors(at_, [&](const Action& action, const State& to, const std::string&) {
        if (!done && world_.signature_of(to) == path.back())
          text = world_.describe(at_, action), next = to, done = true;
      });
      trace.push_back(text);
      at_ = next;
    }
    return trace;
  }

  // Backwards over the steps that are no faults, to a fixed point; breadth-first numbering makes few rounds of it.
  void look_for_stuck() {
    std::vector<bool> good(states_.size());
    for (std::size_t i = 0; i < states_.size(); ++i) good[i] = world_.goal(states_[i]);
    verdict_.goals = static_cast<std::size_t>(std::count(good.begin(), good.end(), true));
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = states_.size(); i-- > 0;) {
        if (good[i]) continue;
        for (std::uint64_t e = first_edge_[i]; e < first_edge_[i + 1] && !good[i]; ++e) good[i] = good[edges_[e]];
        changed = changed || good[i];
      }
    }
    for (std::size_t i = 0; i < states_.size(); ++i) {
      if (good[i]) continue;
      if (verdict_.stuck++ != 0) continue;
      std::vector<std::string> trace = trace_to(i);
      std::string text = "then nothing leads to an end; the state:\n" + world_.picture(at_);
      trace.push_back(std::move(text));
      verdict_.found.push_back({"stuck", std::move(trace)});
    }
  }

  void tell(std::size_t done) {
    const Instant t = now();
    if (limits_.quiet || t - told_ < Duration::from_s(2)) return;
    told_ = t;
    std::fprintf(stderr, "  %.0f s: %zu states, %zu left, depth %zu; %s\n", static_cast<double>((t - start_).ns) / 1e9,
                 states_.size(), states_.size() - done, verdict_.depth, world_.components().c_str());
  }

  World& world_;
  Limits limits_;
  Verdict verdict_;
  std::vector<State> states_;
  std::vector<std::uint64_t> signatures_;
  std::vector<std::uint32_t> parents_;
  std::vector<std::uint32_t> table_;  // open addressing: index + 1
  std::vector<std::uint64_t> first_edge_;
  std::vector<std::uint32_t> edges_;  // steps that are no faults
  std::size_t expanded_ = 0;
  static inline Search* running_ = nullptr;  // for the handler of SIGABRT alone
  State at_;                                 // where the last trace ended
  Instant start_, told_;
};

}  // namespace

Verdict explore(World& world, const Limits& limits) { return Search(world, limits).run(); }

}  // namespace regroup::model

#include "tests/model/search.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <deque>

#include "base/check.h"
#include "base/clock.h"
#include "tests/model/column.h"

namespace regroup::model {
namespace {

class Search {
 public:
  Search(World& world, const Limits& limits) : world_(world), limits_(limits), table_(1u << 20, 0) {}

  Verdict run() {
    start_ = now();
    running_ = this;
    const auto before = std::signal(SIGABRT, [](int) { running_->aborted(); });
    initial_ = world_.initial();
    add(initial_, 0);
    std::size_t level_end = 1;
    for (std::size_t i = 0; i < signatures_.size() && verdict_.complete; ++i) {
      if (i == level_end) level_end = signatures_.size(), ++verdict_.depth;
      const State s = waiting_.front();
      waiting_.pop_front();
      good_.push_back(world_.goal(s));
      expanded_ = i;
      std::size_t ways = 0;
      world_.successors(s, [&](const Action& action, const State& next, const std::string& violation) {
        ++verdict_.steps;
        const std::uint32_t to = add(next, static_cast<std::uint32_t>(i));
        if (!action.fault) edges_.push_back(to), ++ways;
        if (!violation.empty() && verdict_.violations == 0) report(violation, to, i);
      });
      RG_CHECK(ways < 256);
      ways_.push_back(static_cast<std::uint8_t>(ways));
      if (signatures_.size() > limits_.max_states) verdict_.complete = false;
      if (i % 4096 == 0) tell(i);
    }
    std::signal(SIGABRT, before);
    if (verdict_.complete) look_for_stuck();
    verdict_.states = signatures_.size();
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
    if (4 * signatures_.size() > 3 * table_.size()) grow();
    const std::uint64_t signature = world_.signature_of(s);
    std::size_t at = signature & (table_.size() - 1);
    for (; table_[at] != 0; at = (at + 1) & (table_.size() - 1))
      if (signatures_[table_[at] - 1] == signature) return table_[at] - 1;
    waiting_.push_back(s);
    signatures_.push_back(signature);
    parents_.push_back(parent);
    RG_CHECK(signatures_.size() < ~std::uint32_t{0});
    table_[at] = static_cast<std::uint32_t>(signatures_.size());
    const auto index = static_cast<std::uint32_t>(signatures_.size() - 1);
    if (const std::string v = world_.violation(s); !v.empty() && verdict_.violations == 0) report(v, index, parent);
    return index;
  }

  void grow() {
    const std::size_t size = table_.size() * 2;
    table_ = {};  // given back before the larger one is made
    table_.resize(size, 0);
    for (std::size_t i = 0; i < signatures_.size(); ++i) {
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
    at_ = initial_;
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
    verdict_.goals = static_cast<std::size_t>(std::count(good_.begin(), good_.end(), true));
    for (bool changed = true; changed;) {
      changed = false;
      std::size_t edge = edges_.size();
      for (std::size_t i = good_.size(); i-- > 0;) {
        const std::size_t first = edge - ways_[i];
        for (std::size_t e = first; e < edge && !good_[i]; ++e)
          if (good_[edges_[e]]) good_[i] = changed = true;
        edge = first;
      }
    }
    for (std::size_t i = 0; i < good_.size(); ++i) {
      if (good_[i]) continue;
      if (verdict_.stuck++ != 0) continue;
      std::vector<std::string> trace = trace_to(i);
      std::string text = "then nothing leads to an end; the state:\n" + world_.picture(at_);
      trace.push_back(std::move(text));
      verdict_.found.push_back({"stuck", std::move(trace)});
    }
  }

  void tell(std::size_t done) {
    const Instant t = now();
    const double seconds = static_cast<double>((t - start_).ns) / 1e9;
    if (limits_.max_seconds > 0 && seconds > limits_.max_seconds) verdict_.complete = false;
    if (limits_.quiet || t - told_ < Duration::from_s(2)) return;
    told_ = t;
    std::fprintf(stderr, "  %.0f s: %zu states, %zu left, depth %zu; %s\n", seconds, signatures_.size(),
                 signatures_.size() - done, verdict_.depth, world_.components().c_str());
  }

  World& world_;
  Limits limits_;
  Verdict verdict_;
  State initial_;
  std::deque<State> waiting_;  // found, not yet expanded
  Column<std::uint64_t> signatures_;
  Column<std::uint32_t> parents_;
  std::vector<std::uint32_t> table_;  // open addressing: index + 1
  std::vector<bool> good_;            // a goal, or leads to one
  Column<std::uint8_t> ways_;         // how many of the edges are this state's
  Column<std::uint32_t> edges_;       // steps that are no faults
  std::size_t expanded_ = 0;
  static inline Search* running_ = nullptr;  // for the handler of SIGABRT alone
  State at_;                                 // where the last trace ended
  Instant start_, told_;
};

}  // namespace

Verdict explore(World& world, const Limits& limits) { return Search(world, limits).run(); }

}  // namespace regroup::model

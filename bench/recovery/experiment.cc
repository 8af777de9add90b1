#include "bench/recovery/experiment.h"

#include <poll.h>
#include <signal.h>

#include <algorithm>
#include <ctime>

#include "bench/clock.h"
#include "bench/stats.h"

namespace regroup::bench {
namespace {

constexpr std::uint64_t kSettledCommits = 5;         // of every member in the full view, before a kill
constexpr std::uint64_t kMomentSpanNs = 60'000'000;  // the kill comes anywhere within the next 60 ms: several ops
constexpr std::size_t kKeptOps = 200'000;
constexpr double kFirstJoinS = 90;

void sleep_ns(std::int64_t ns) {
  const timespec time{ns / 1'000'000'000, ns % 1'000'000'000};
  ::nanosleep(&time, nullptr);
}

}  // namespace

Experiment::Experiment(const RecoveryArguments& arguments, Fleet& fleet)
    : arguments_(arguments),
      fleet_(fleet),
      ledger_(static_cast<std::size_t>(arguments.ranks)),
      full_((std::uint64_t{1} << arguments.ranks) - 1),
      full_commits_(static_cast<std::size_t>(arguments.ranks)),
      last_commit_ns_(static_cast<std::size_t>(arguments.ranks)),
      random_(arguments.seed * 0x9e3779b97f4a7c15ull) {
  watch_.first_without.resize(static_cast<std::size_t>(arguments.ranks));
}

std::uint64_t Experiment::random_below(std::uint64_t n) {  // SplitMix64
  std::uint64_t z = (random_ += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return (z ^ (z >> 31)) % n;
}

void Experiment::on_commit(std::size_t member, const Commit& commit) {
  if (commit.commit_ns > watch_.after_ns && (commit.contributors & watch_.victim_bit) == 0 &&
      watch_.first_without[member] == 0) {
    watch_.first_without[member] = commit.commit_ns;
  }
  if (commit.contributors == full_) {
    ++full_commits_[member];
    if (commit.attempts == 1 && result_.op_ms.size() < kKeptOps) {
      result_.op_ms.push_back(static_cast<double>(commit.commit_ns - commit.begin_ns) / 1e6);
    }
  }
  if (member != gap_excludes_ && last_commit_ns_[member] != 0) {
    longest_gap_ns_ = std::max(longest_gap_ns_, commit.commit_ns - last_commit_ns_[member]);
  }
  last_commit_ns_[member] = commit.commit_ns;
}

Status Experiment::wait_until(const std::string& what, const std::function<bool()>& done) {
  const double bound_s = result_.kills == 0 ? std::max(arguments_.hang_s, kFirstJoinS) : arguments_.hang_s;
  const double until = now_s() + bound_s;
  for (;;) {
    Status s = fleet_.drain(ledger_, [this](std::size_t member, const Commit& commit) { on_commit(member, commit); });
    if (!s.ok()) return {s.code(), s.error().detail + " (waiting for " + what + ")\n" + fleet_.describe()};
    if (done()) return {};
    if (now_s() > until) return {Code::kTimeout, "no " + what + " within the bound\n" + fleet_.describe()};
    sleep_ns(300'000);
  }
}

Status Experiment::wait_random_moment() {
  const std::int64_t at = now_ns() + static_cast<std::int64_t>(random_below(kMomentSpanNs));
  Status s = wait_until("random moment", [&] { return at - now_ns() < 1'000'000; });
  if (!s.ok()) return s;
  if (const std::int64_t rest = at - now_ns(); rest > 0) sleep_ns(rest);
  return {};
}

Status Experiment::measure(std::size_t victim) {
  const auto survivors_done = [&] {
    for (std::size_t m = 0; m < full_commits_.size(); ++m) {
      if (m != victim && watch_.first_without[m] == 0) return false;
    }
    return true;
  };
  std::uint32_t evictions = 0;
  for (std::size_t m = 0; m < full_commits_.size(); ++m) evictions += m == victim ? 0 : fleet_.part(m).evictions.load();
  std::fill(watch_.first_without.begin(), watch_.first_without.end(), 0);
  watch_.victim_bit = std::uint64_t{1} << victim;
  watch_.after_ns = now_ns();
  const std::int64_t at = watch_.after_ns = fleet_.signal(victim, arguments_.signal);
  if (!arguments_.stops()) fleet_.reap(victim);
  result_.kills_mid_op += fleet_.part(victim).in_op.load() != 0;
  ++result_.kills;
  if (Status s = wait_until("commit of all survivors without rank " + std::to_string(victim), survivors_done);
      !s.ok()) {
    return s;
  }
  std::int64_t first = INT64_MAX, last = 0;
  for (std::size_t m = 0; m < full_commits_.size(); ++m) {
    if (m == victim) continue;
    first = std::min(first, watch_.first_without[m]);
    last = std::max(last, watch_.first_without[m]);
    evictions -= fleet_.part(m).evictions.load();
  }
  result_.extra_evictions += static_cast<int>(-evictions);
  result_.kills_json.push_back("{\"kill\": " + std::to_string(result_.kills) + ", \"victim\": " +
                               std::to_string(victim) + ", \"time_ns\": " + std::to_string(at) +
                               ", \"first_ns\": " + std::to_string(first) + ", \"last_ns\": " + std::to_string(last) +
                               "}");
  result_.first_commit_ms.push_back(static_cast<double>(first - at) / 1e6);
  result_.kill_to_commit_ms.push_back(static_cast<double>(last - at) / 1e6);
  return {};
}

Status Experiment::bring_back(std::size_t victim) {
  std::fill(full_commits_.begin(), full_commits_.end(), 0);
  longest_gap_ns_ = 0;
  gap_excludes_ = victim;
  const std::int64_t at = now_ns();
  if (arguments_.stops()) {
    fleet_.signal(victim, SIGCONT);
  } else if (Status s = fleet_.restart(victim); !s.ok()) {
    return s;
  }
  const std::uint64_t before = full_commits_[victim];
  Status s = wait_until("commit of the returned rank " + std::to_string(victim),
                        [&] { return full_commits_[victim] > before; });
  if (!s.ok()) return s;
  // The ring holds the exact time of that commit only as the member's last or an earlier one; ops are short.
  result_.rejoin_ms.push_back(static_cast<double>(last_commit_ns_[victim] - at) / 1e6);
  result_.join_gap_ms.push_back(static_cast<double>(longest_gap_ns_) / 1e6);
  return {};
}

Status Experiment::one_kill() {
  const auto settled = [this] {
    return std::all_of(full_commits_.begin(), full_commits_.end(),
                       [](std::uint64_t n) { return n >= kSettledCommits; });
  };
  if (Status s = wait_until("commits of all members in the full view", settled); !s.ok()) return s;
  const std::size_t victim = random_below(full_commits_.size());
  if (Status s = wait_random_moment(); !s.ok()) return s;
  if (Status s = measure(victim); !s.ok()) return s;
  return bring_back(victim);
}

Status Experiment::run(const std::function<void(const RecoveryResult&)>& progress) {
  for (int kill = 0; kill < arguments_.kills; ++kill) {
    if (Status s = one_kill(); !s.ok()) return s;
    progress(result_);
  }
  return {};
}

}  // namespace regroup::bench

#include "tools/chaos/episode.h"

#include <time.h>

#include <algorithm>
#include <bit>
#include <filesystem>

#include "base/clock.h"
#include "tools/chaos/command.h"

namespace regroup::chaos {
namespace {

constexpr Duration kFirstView = Duration::from_s(90);
constexpr Duration kPoll = Duration::from_us(400);
constexpr Duration kBetweenSamples = Duration::from_s(2);
constexpr double kSettledAge_s = 10;  // of a process whose memory is looked at
constexpr std::uint64_t kSettledCommits = 3;

void sleep_for(Duration d) {
  const timespec time{d.ns / 1'000'000'000, d.ns % 1'000'000'000};
  if (d.ns > 0) ::nanosleep(&time, nullptr);
}

}  // namespace

Episode::Episode(FleetSetup setup, std::uint64_t seed, Tally& tally)
    : setup_(setup),
      rng_(seed),
      tally_(tally),
      ledger_(static_cast<std::size_t>(setup.arguments.members)),
      full_((Bits{1} << setup.arguments.members) - 1),
      full_commits_(static_cast<std::size_t>(setup.arguments.members)),
      views_(full_commits_.size()),
      commits_(full_commits_.size()),
      fleet_(std::move(setup)) {}

void Episode::on_commit(int rank, const Commit& c) {
  const auto r = static_cast<std::size_t>(rank);
  ledger_.add(r, c);
  ++tally_.commits;
  tally_.commits_there += c.there;
  tally_.by_nccl += c.by_nccl;
  if (c.attempts > 1) tally_.redo_ms.push_back(Duration{c.commit_ns - c.begin_ns}.ms());
  if (c.contributors == full_) ++full_commits_[r];
  commits_[r].push_back({c.epoch, c.contributors, {c.commit_ns}});
}

void Episode::on_view(int rank, const SeenView& v) {
  const auto r = static_cast<std::size_t>(rank);
  views_[r].push_back({v.epoch, v.members, {v.at_ns}});
  if (v.at_ns < cycle_.ns) return;
  for (Bits missing = full_ & ~v.members & ~excused_ & ~missed_; missing != 0; missing &= missing - 1) {
    const int who = std::countr_zero(missing);
    missed_ |= bit(who);
    ++tally_.false_suspicions;
    tally_.find("view " + std::to_string(v.epoch) + " leaves out rank " + std::to_string(who) +
                ", which no fault had touched (at hand: " + how_ + ", " +
                std::to_string((v.at_ns - cycle_.ns) / 1'000'000) + " ms ago)");
  }
}

Status Episode::drain() {
  if (now() >= next_sample_) sample();
  return fleet_.drain([this](int rank, const Commit& c) { on_commit(rank, c); },
                      [this](int rank, const SeenView& v) { on_view(rank, v); });
}

Status Episode::wait_until(const std::string& what, Duration bound, const std::function<bool()>& done) {
  for (const Instant until = now() + bound;; sleep_for(kPoll)) {
    if (Status s = drain(); !s.ok()) return {s.code(), s.error().detail + "  (waiting for " + what + ")\n"};
    if (done()) return {};
    if (now() > until) return {Code::kTimeout, "no " + what + " within " + std::to_string(bound.ns / 1'000'000'000) + " s\n"};
  }
}

Status Episode::wait_for(Duration time) {
  const Instant until = now() + time;
  const Instant soon = until + Duration{-1'000'000};
  if (Status s = wait_until("moment", time + Duration::from_s(60), [&] { return now() >= soon; }); !s.ok()) return s;
  sleep_for(until - now());
  return {};
}

Status Episode::wait_full() {
  std::fill(full_commits_.begin(), full_commits_.end(), 0);
  return wait_until("commits of all members in the full view", started_ ? hang_bound() : kFirstView, [this] {
    return std::all_of(full_commits_.begin(), full_commits_.end(), [](auto n) { return n >= kSettledCommits; });
  });
}

void Episode::begin_cycle() {
  excused_ = missed_ = 0;
  ++cycles_;
  cycle_ = now();
  epoch_ = epoch_at(cycle_);
  for (SeenBy* seen : {&views_, &commits_})
    for (auto& of_rank : *seen) of_rank.clear();
}

Instant Episode::last_of(const SeenBy& seen, Bits ignoring, const std::function<bool(const Seen&)>& counts) {
  Instant last{0};
  for (std::size_t r = 0; r < seen.size(); ++r) {
    if ((ignoring >> r & 1) != 0) continue;
    auto first = std::find_if(seen[r].begin(), seen[r].end(), counts);
    if (first == seen[r].end()) return {0};
    last = std::max(last, first->at);
  }
  return last;
}

std::uint64_t Episode::epoch_at(Instant from) const {
  std::uint64_t epoch = epoch_;
  for (const auto& of_rank : views_)
    for (const Seen& v : of_rank)
      if (v.at <= from) epoch = std::max(epoch, v.epoch);
  return epoch;
}

Instant Episode::last_view(Bits without, Bits ignoring, Instant from) const {
  return last_of(views_, ignoring, [&](const Seen& v) { return v.at > from && (v.members & without) == 0; });
}

Instant Episode::last_commit(Bits ignoring, Instant from, std::uint64_t above) const {
  return last_of(commits_, ignoring, [&](const Seen& c) { return c.at > from && c.epoch > above; });
}

std::uint64_t Episode::epoch_before(Bits victims, Instant from) const {
  std::uint64_t epoch = UINT64_MAX;
  for (std::size_t r = 0; r < views_.size(); ++r)
    for (const Seen& v : views_[r])
      if ((victims >> r & 1) == 0 && v.at > from && (v.members & victims) == 0) epoch = std::min(epoch, v.epoch - 1);
  return epoch;
}

void Episode::recovered(const std::string& kind, Duration view, Duration commit) {
  tally_.recovered(kind, name_of(setup_.arena), how_ + ", cycle " + std::to_string(cycles_), view, commit);
  if (view.ms() <= Tally::kSlowOther_ms || kind.starts_with("partition")) return;  // a slow host may take that long
  const std::string name = "cycle-" + std::to_string(cycles_);
  fleet_.set_apart(name);
  tally_.find("a recovery of " + std::to_string(view.ms()) + " ms: " + fleet_.folder() + "/" + name);
}

Status Episode::measure(const std::string& kind, Bits victims, Instant from, Instant since) {
  Instant view{0}, commit{0};
  Status s = wait_until("view and commit without the victims of " + kind + " at all survivors", hang_bound(), [&] {
    view = last_view(victims, victims, since), commit = last_commit(victims, from, epoch_before(victims, since));
    return view.ns > 0 && commit.ns > 0;
  });
  if (s.ok() && view > from) recovered(kind, view - from, commit - from);
  return s;
}

Status Episode::measure_commit(const std::string& kind, Instant from) {
  Instant commit{0};
  Status s = wait_until("commit after " + kind + " at all members", hang_bound(), [&] {
    commit = last_commit(0, from, 0);
    return commit.ns > 0;
  });
  if (!s.ok()) return s;
  const Instant view = last_view(0, 0, from);
  recovered(kind, view.ns > 0 ? view - from : Duration{0}, commit - from);
  return {};
}

Status Episode::measure_stall(const std::string& kind, Bits victims, Instant from) {
  const Instant over = now();
  Instant commit{0};
  Status s = wait_until("commit after " + kind + " at all others", hang_bound(), [&] {
    commit = last_commit(victims, over, 0);
    return commit.ns > 0;
  });
  if (!s.ok()) return s;
  Duration longest{0};
  for (std::size_t r = 0; r < commits_.size(); ++r) {
    Instant before = from;
    for (const Seen& c : commits_[r]) {
      if ((victims >> r & 1) != 0 || c.at <= from) continue;
      longest = std::max(longest, c.at - before);
      before = c.at;
    }
  }
  recovered(kind, longest, commit - from);
  return {};
}

void Episode::sample() {
  next_sample_ = now() + kBetweenSamples;
  for (const Fleet::Usage& u : fleet_.usage())
    if (u.age_s >= kSettledAge_s) usage_[u.pid].push_back(u);
}

// The longest life of the episode. Members come and go, and with them what is mapped: so medians, not moments.
std::optional<Tally::Growth> Episode::growth() const {
  auto longest = std::max_element(usage_.begin(), usage_.end(),
                                  [](auto& a, auto& b) { return a.second.size() < b.second.size(); });
  if (longest == usage_.end()) return std::nullopt;
  const std::vector<Fleet::Usage>& samples = longest->second;
  Tally::Growth g{name_of(setup_.arena), samples[0].rank, samples[0].age_s, samples.back().age_s, 0, {}, {}};
  for (const Fleet::Usage& u : samples) g.peak_mib = std::max(g.peak_mib, u.rss_mib);
  for (std::size_t part = 0; part < 10; ++part) {
    std::vector<double> mib, descriptors;
    for (std::size_t i = samples.size() * part / 10; i < samples.size() * (part + 1) / 10; ++i)
      mib.push_back(samples[i].rss_mib), descriptors.push_back(samples[i].descriptors);
    if (!mib.empty()) g.mib.push_back(percentile(mib, 50)), g.descriptors.push_back(percentile(descriptors, 50));
  }
  return g;
}

// The episode is over, one way or the other: its account goes into the tally.
Status Episode::end_of_life(Status status) {
  if (!status.ok()) {
    const bool hang = status.code() == Code::kTimeout;
    (hang ? tally_.hangs : tally_.unexpected_ends) += 1;
    tally_.find(std::string(hang ? "hang" : "unexpected end") + ", arena " + name_of(setup_.arena) + ": " + status.error().detail +
                fleet_.describe());
  }
  tally_.ops += ledger_.commits() > 0 ? ledger_.steps() : 0;
  tally_.wrong += ledger_.wrong_results();
  tally_.lost_steps += ledger_.lost_steps();
  for (const std::string& finding : ledger_.findings()) tally_.find(finding);
  if (const std::uint64_t n = fleet_.lost_views(); n > 0) tally_.find(std::to_string(n) + " views were not recorded");
  if (auto g = growth()) tally_.growth.push_back(std::move(*g));
  // The protocol's own guarantees, judged on what the members' flight recorders still hold.
  std::vector<std::string> check = {"/proc/self/exe", "check"};
  for (std::string& file : fleet_.flight_records()) check.push_back(std::move(file));
  if (check.size() > 2)
    if (auto checked = run_command(check); !checked.ok()) {
      ++tally_.wrong;
      tally_.find("regroup check: " + checked.error().detail);
    }
  if (!tally_.good() || setup_.arguments.keep) fleet_.keep(), tally_.find("log and flight records: " + fleet_.folder());
  return {};
}

Status Episode::run(Instant until, const std::function<void()>& progress) {
  if (Status s = fleet_.start(); !s.ok()) return s;
  begin_cycle();
  Status status = wait_full();
  started_ = true;
  std::vector<FaultKind> kinds;
  for (const FaultKind kind : setup_.arguments.faults) {
    // SIGKILL is the fault most seen; the others last longer.
    const int weight = kind == FaultKind::kPartition && setup_.arena != Arena::kNet ? 0 : kind == FaultKind::kKill ? 3 : 1;
    kinds.insert(kinds.end(), static_cast<std::size_t>(weight), kind);
  }
  while (status.ok() && now() < until && !kinds.empty()) {
    status = wait_for(Duration::from_us(static_cast<std::int64_t>(rng_.below(60'000))));
    if (!status.ok()) break;
    begin_cycle();
    status = fault(kinds[rng_.below(kinds.size())]);
    if (status.ok()) status = wait_full();
    progress();
  }
  return end_of_life(std::move(status));
}

}  // namespace regroup::chaos

// The feed, the journal, the replay, and the hand-over.
#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/state/joiner_round.h"

namespace regroup::state {
namespace {

constexpr Duration kOpenWait = Duration::from_ms(1000);
constexpr Duration kSilent = Duration::from_ms(1000);     // a feeder says something every 200 ms
constexpr Duration kNoMark = Duration::from_ms(300);
constexpr Duration kHandOver = Duration::from_ms(800);    // below the coordinator's wedge deadline
constexpr Duration kFeederFirst = Duration::from_ms(5);   // then the source that the coordinator names

}  // namespace

void Joiner::feed_loop(Round& round, std::shared_ptr<FeedLink> link) {
  const std::uint64_t most = config_.journal_bytes + config_.spill_bytes;
  while (!round.over.load()) {
    Result<std::optional<Entry>> entry = link->next(kSilent, most);
    {
      std::lock_guard lock(round.journal_mutex);
      if (!entry) {
        round.feed_error = Error{entry.code(), "the feeder is lost: " + entry.error().detail};
      } else if (entry->has_value()) {
        const OpId op = (*entry)->op;
        switch (round.journal.push(std::move(**entry))) {
          case Journal::Push::kOk:
          case Journal::Push::kKnown: break;
          case Journal::Push::kGap: round.feed_error = Error{Code::kUnavailable, "the feed has a gap before op " + std::to_string(op)}; break;
          case Journal::Push::kFull:
            round.feed_error = Error{Code::kNoMemory, "the journal is full at op " + std::to_string(op) + " (journal_bytes, spill_bytes)"};
            break;
          case Journal::Push::kStore: round.feed_error = Error{Code::kSystem, "the journal's file cannot be written"}; break;
        }
      } else {
        continue;
      }
      if (round.feed_error) break;
    }
    news_.notify_all();
  }
  news_.notify_all();
}

// From any of the sources: the first that agrees.
Status Joiner::begin_feed(Round& round) {
  Error last{Code::kUnavailable, "no feeder"};
  for (std::size_t k = 0; k < round.sources.size(); ++k) {
    const std::size_t i = (k + progress().rounds) % round.sources.size();
    auto link = std::make_shared<FeedLink>(round.reach, round.sources[i]->who());
    Result<OpId> first = link->open({}, now() + kOpenWait);
    if (!first) {
      last = first.error();
      continue;
    }
    round.journal.clear(*first - 1);
    round.feeder = round.sources[i]->who();
    round.threads.emplace_back([this, &round, link] { feed_loop(round, link); });
    return {};
  }
  return last;
}

// Whole steps up to `limit`, in order; the number of them.
Result<std::uint64_t> Joiner::apply_steps(Round& round, OpId limit) {
  std::uint64_t steps = 0;
  std::vector<Entry> step;
  while (!stop_.load()) {
    step.clear();
    {
      std::lock_guard lock(round.journal_mutex);
      if (round.journal.last_mark() <= round.journal.taken()) return steps;
      do {
        Result<std::optional<Entry>> entry = round.journal.pop(limit);
        if (!entry) return entry.error();
        if (!entry->has_value() && step.empty()) return steps;
        if (!entry->has_value()) return Error{Code::kUnavailable, "a hand-over that ends no step"};
        step.push_back(std::move(**entry));
      } while (!step.back().mark);
    }
    if (step.back().op <= round.op) continue;  // in the snapshot
    std::vector<StepResult> results;
    for (const Entry& e : step)
      results.push_back({e.op, e.code, e.whole ? e.data.data() : nullptr, e.data.size(), e.contributors});
    known_.clear();
    if (Status s = config_.apply(step.back().step, results); !s)
      return Error{Code::kInvalid, "apply of step " + std::to_string(step.back().step) + " failed: " + s.error().detail};
    round.op = step.back().op;
    round.step = step.back().step;
    ++steps;
    std::lock_guard lock(mutex_);
    ++progress_.replayed;
  }
  return steps;
}

// Every member keeps its last results from here on, so that any can hand over the rest.
Status Joiner::retain_everywhere(Round& round) {
  std::vector<MemberInfo> members;
  {
    std::lock_guard lock(mutex_);
    members = members_;
  }
  round.retained.clear();
  OpId first = 0;
  for (const MemberInfo& m : members) {
    if (m.inc == round.feeder.inc) continue;
    auto link = std::make_unique<FeedLink>(round.reach, m);
    Result<OpId> begins = link->open({0, true}, now() + kOpenWait);
    if (!begins) continue;
    first = std::max(first, *begins);
    round.retained.push_back(std::move(link));
  }
  const Instant until = now() + kSilent;
  const auto held = [&] {
    std::lock_guard lock(round.journal_mutex);
    return round.journal.last() + 1 >= first || round.feed_error;
  };
  while (!held() && now() < until && !stop_.load()) {  // what they did not keep must come from the feeder
    std::unique_lock lock(mutex_);
    news_.wait_for(lock, std::chrono::microseconds(500));
  }
  return {};
}

// The feeder is lost: another one, where it still has what comes next.
bool Joiner::take_over_feed(Round& round) {
  OpId next = 0;
  std::vector<MemberInfo> members;
  {
    std::lock_guard lock(round.journal_mutex);
    if (round.feed_error->code == Code::kNoMemory || round.feed_error->code == Code::kSystem) return false;
    next = round.journal.last() + 1;
  }
  {
    std::lock_guard lock(mutex_);
    members = members_;
  }
  for (const MemberInfo& m : members) {
    if (m.inc == round.feeder.inc || stop_.load()) continue;
    auto link = std::make_shared<FeedLink>(round.reach, m);
    Result<OpId> first = link->open({next, false}, now() + kOpenWait);
    if (!first || *first > next) continue;
    std::lock_guard lock(round.journal_mutex);
    round.feed_error.reset();
    round.feeder = m;
    round.threads.emplace_back([this, &round, link] { feed_loop(round, link); });
    return true;
  }
  return false;
}

// Follows until stopped, or until it cannot: then a newer snapshot.
Status Joiner::replay(Round& round) {
  note("replays");
  bool armed = false;  // one step behind at most, and every member keeps its last results
  Instant armed_at{0};
  std::uint64_t paused_at = 0;  // views told when it was handed over: nothing is replayed before another
  for (;;) {
    if (stop_.load()) return {};
    std::optional<Error> lost;
    {
      std::lock_guard lock(round.journal_mutex);
      lost = round.feed_error;
    }
    if (lost && !take_over_feed(round)) return *lost;
    std::optional<Fetch> fetch;
    {
      std::lock_guard lock(mutex_);
      fetch = std::exchange(fetch_, std::nullopt);
      if (paused_at != 0 && paused_at != views_) paused_at = 0;
      std::lock_guard journal(round.journal_mutex);
      progress_.journal_ops = round.journal.size();
      progress_.journal_bytes = round.journal.memory() + round.journal.spilled();
    }
    if (fetch) {
      std::uint64_t views = 0;
      {
        std::lock_guard lock(mutex_);
        views = views_;
      }
      if (complete(round, *fetch)) paused_at = views;
      else if (round.differs) return *round.differs;
      armed_at = now();
      continue;
    }
    if (paused_at == 0) {
      OpId mark = 0;
      {
        std::lock_guard lock(round.journal_mutex);
        mark = round.journal.last_mark();
      }
      // Said as a step ends, before it is replayed: the change is then cut there, and everybody begins the next step at
      // the same time. Where no step ends (too few members) it is said all the same.
      if (armed && !round.level && (mark > round.op || now() - armed_at > kNoMark)) {
        round.level = true;
        note("level");
        config_.ready(true);
      }
      Result<std::uint64_t> steps = apply_steps(round, UINT64_MAX);
      if (!steps) return steps.error();
      if (*steps <= 1 && !armed && !stop_.load()) {
        if (Status s = retain_everywhere(round); !s) return s;
        armed = true;
        armed_at = now();
      }
    }
    std::unique_lock lock(mutex_);
    if (!fetch_ && !stop_.load()) news_.wait_for(lock, std::chrono::milliseconds(1));
  }
}

// The results up to the mark of the planned change, of the feeder or of the member that the coordinator names; then level.
bool Joiner::complete(Round& round, const Fetch& fetch) {
  const Instant begin = now();
  const auto held = [&] {
    std::lock_guard lock(round.journal_mutex);
    return round.journal.last() >= fetch.op;
  };
  const auto wait_until = [&](Instant until) {
    while (!held() && now() < until && !stop_.load()) {
      std::unique_lock lock(mutex_);
      news_.wait_for(lock, std::chrono::microseconds(200));
    }
  };
  wait_until(begin + kFeederFirst);
  if (!held()) {
    OpId next = 0;
    {
      std::lock_guard lock(round.journal_mutex);
      next = round.journal.last() + 1;
    }
    FeedLink link(round.reach, fetch.source);
    Result<OpId> first = link.open({next, false}, begin + kHandOver);
    while (first && *first <= next && !held() && now() < begin + kHandOver) {
      Result<std::optional<Entry>> entry = link.next(begin + kHandOver - now(), config_.journal_bytes + config_.spill_bytes);
      if (!entry) break;
      std::lock_guard lock(round.journal_mutex);
      if (entry->has_value() && round.journal.push(std::move(**entry)) == Journal::Push::kFull) break;
    }
    wait_until(begin + kHandOver);
  }
  bool ok = held() && round.op <= fetch.op;
  bool older = false;
  if (ok) {
    Result<std::uint64_t> steps = apply_steps(round, fetch.op);
    ok = steps.ok() && round.op == fetch.op;
    older = ok && round.step < config_.floor;
    ok = ok && !older;
    if (ok)
      if (Status same = compare(round); !same) round.differs = same.error(), ok = false;
  }
  if (ok) note("handed over");
  else log::info("hand_over_failed", "op=" + std::to_string(fetch.op) + " held=" + std::to_string(round.op));
  config_.handed_over(fetch, ok, round.step);
  if (!ok) round.level = false;  // the core says so by itself
  if (older) config_.refused(older_than_mine(round.step));
  return ok;
}

}  // namespace regroup::state

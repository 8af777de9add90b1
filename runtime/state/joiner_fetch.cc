// The transfer: sources, the mark, the stripes.
#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/state/joiner_round.h"
#include "runtime/state/serve.h"
#include "runtime/state/wire.h"

namespace regroup::state {
namespace {

constexpr std::size_t kMaxSources = 16;
constexpr Duration kOpenWait = Duration::from_ms(1500);  // of all sources, side by side
constexpr Duration kTakeWait = Duration::from_s(12);     // the mark must come
constexpr Duration kTakeMore = Duration::from_ms(500);   // to the others, when the first has it
constexpr int kTakes = 6;                                // each time a mark further away
constexpr Duration kPatience = Duration::from_ms(1500);  // for each stripe

}  // namespace

// All members, side by side; whoever answers in time is a source.
Status Joiner::open_sources(Round& round, const std::vector<MemberInfo>& all) {
  note("asks");
  std::vector<MemberInfo> members;
  for (const MemberInfo& m : all)
    if (!lied(m)) members.push_back(m);
  if (members.empty()) members = all;
  const std::size_t n = std::min(members.size(), kMaxSources);
  std::vector<std::unique_ptr<SourceLink>> links(n);
  std::vector<Result<Holder::Version>> versions(n, Error{Code::kUnavailable, "not asked"});
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < n; ++i) {
    links[i] = std::make_unique<SourceLink>(round.reach, members[i]);
    threads.emplace_back([&, i] { versions[i] = links[i]->open(table_, now() + kOpenWait); });
  }
  for (std::thread& t : threads) t.join();
  Error last{Code::kUnavailable, "no member to catch up from"};
  for (std::size_t i = 0; i < n; ++i) {
    if (!versions[i]) {
      last = versions[i].error();
      last.detail = "member " + to_string(members[i].id) + ": " + last.detail;
      if (last.code == Code::kConfig) return last;
      continue;
    }
    if (!versions[i]->known) {
      last = {Code::kUnavailable, "member " + to_string(members[i].id) + " has not said what its state is as of"};
      continue;
    }
    if (!round.newest.known || versions[i]->op > round.newest.op) round.newest = *versions[i];
    round.sources.push_back(std::move(links[i]));
  }
  if (round.sources.empty()) return last;
  return {};
}

// The same mark at all of them: the newest that any has, or where the feed begins behind it or blobs are to be saved, the next;
// and on to later ones until the feed begins no later than right behind it.
Status Joiner::take(Round& round) {
  OpId first = 0;
  {
    std::lock_guard lock(round.journal_mutex);
    first = round.journal.taken() + 1;
  }
  round.step = round.newest.step;
  if (round.newest.step + config_.floor_slack < config_.floor) return older_than_mine(round.newest.step);
  if (round.newest.op + 1 < first || !config_.blobs.empty()) ++round.step;
  std::vector<Result<SourceLink::Taken>> taken;
  bool past = false, early = true;
  for (int tries = 0; (past || early) && tries < kTakes && !stop_.load(); ++tries) {
    if (tries != 0) round.step += past ? 1ull << tries : 1;
    taken = take_all(round);
    past = std::any_of(taken.begin(), taken.end(), [](const auto& t) { return t.code() == Code::kUnavailable; });
    early = std::any_of(taken.begin(), taken.end(), [&](const auto& t) { return t.ok() && t->op + 1 < first; });
  }
  if (early) return {Code::kUnavailable, "no mark where the feed begins"};
  Error last{Code::kUnavailable, "no source"};
  for (std::size_t i = 0; i < taken.size(); ++i) {
    if (!taken[i]) {
      last = taken[i].error();
      round.sources[i]->stop();
      continue;
    }
    round.usable |= 1u << i;
    if (round.op != 0 && taken[i]->op != round.op)
      return {Code::kUnavailable, "two members ended step " + std::to_string(round.step) + " at different ops"};
    round.op = taken[i]->op;
    if (!taken[i]->blobs.empty()) round.blobs = std::move(taken[i]->blobs);
  }
  if (round.usable == 0) return last;
  std::lock_guard lock(mutex_);
  progress_.step = round.step;
  return {};
}

Error Joiner::older_than_mine(std::uint64_t step) const {
  return {Code::kConfig, "this member holds the state as of step " + std::to_string(config_.floor) +
                             " (in memory, or in checkpoint_dir), the group is at step " + std::to_string(step) +
                             ": begin the group anew with this member, or move its checkpoints away"};
}

// Side by side. Who has not answered a moment after the first that has the mark is left out: it is stopped, or slow.
std::vector<Result<SourceLink::Taken>> Joiner::take_all(Round& round) {
  const auto n = static_cast<std::uint32_t>(round.sources.size());
  std::vector<Result<SourceLink::Taken>> taken(n, Error{Code::kTimeout, "no answer"});
  std::mutex mutex;
  std::condition_variable answer;
  std::uint32_t answered = 0;
  Instant until = now() + kTakeWait;
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < n; ++i)
    threads.emplace_back([&, i] {
      Result<SourceLink::Taken> got = round.sources[i]->take({round.step, i, n, false, hurry_}, now() + kTakeWait);
      std::lock_guard lock(mutex);
      if (got) until = std::min(until, now() + kTakeMore);
      taken[i] = std::move(got);
      ++answered;
      answer.notify_all();
    });
  {
    std::unique_lock lock(mutex);
    while (answered < n && now() < until && !stop_.load()) answer.wait_for(lock, std::chrono::milliseconds(10));
    for (std::uint32_t i = 0; i < n; ++i)
      if (taken[i].code() == Code::kTimeout) round.sources[i]->stop();
  }
  for (std::thread& t : threads) t.join();
  return taken;
}

Status Joiner::fetch(Round& round) {
  std::vector<std::uint32_t> bytes;
  for (std::uint32_t i = 0; i < table_.size(); ++i) bytes.push_back(table_[i].bytes);
  round.plan = std::make_unique<FetchPlan>(std::move(bytes), static_cast<std::uint32_t>(round.sources.size()), FetchPlan::Limits{});
  if (known_by_one_ && round.sources.size() > 1) known_.clear();  // its word, again, would count as that of two
  for (std::uint32_t i = 0; i < known_.size(); ++i)
    if (known_[i]) round.plan->known(i, *known_[i]);
  known_.clear();
  const Instant begin = now();
  config_.overwrites();
  {
    std::lock_guard lock(mutex_);
    progress_.phase = "fetches";
    progress_.bytes = 0;
  }
  for (std::uint32_t i = 0; i < round.sources.size(); ++i) {
    if (round.usable >> i & 1) round.threads.emplace_back([this, &round, i] { fetch_from(round, i); });
    else round.plan->lost(i, "not as of this mark");
  }
  std::optional<std::string> stuck;
  const auto feed_over = [&] {  // what is being fetched could not be brought up to the others any more
    std::lock_guard lock(round.journal_mutex);
    if (round.feed_error) stuck = round.feed_error->detail;
    return round.feed_error.has_value();
  };
  std::vector<FetchPlan::Per> per;
  std::uint64_t kept = 0;
  {
    std::unique_lock lock(round.plan_mutex);
    while (!round.plan->done() && !stuck && !stop_.load()) {
      round.plan_news.wait_for(lock, std::chrono::milliseconds(20));
      round.plan->tick(now());
      stuck = round.plan->stuck();
      if (!stuck && feed_over()) {
        lock.unlock();
        if (take_over_feed(round)) stuck.reset();
        lock.lock();
      }
      for (std::size_t i = 0; i < round.sources.size(); ++i)
        if (round.plan->sources()[i].lost) round.sources[i]->stop();
      std::lock_guard progress(mutex_);
      progress_.bytes = round.plan->bytes_done();
      progress_.rate = static_cast<double>(progress_.bytes) * 1e9 / static_cast<double>(std::max<std::int64_t>((now() - begin).ns, 1));
    }
    per = round.plan->sources();
    kept = round.plan->bytes_kept();
  }
  round.fetched.store(true);
  round.plan_news.notify_all();
  remember(round);
  std::lock_guard lock(mutex_);
  progress_.kept += kept;
  for (std::size_t i = 0; i < per.size(); ++i) {
    const MemberId id = round.sources[i]->who().id;
    auto known = std::find_if(progress_.sources.begin(), progress_.sources.end(), [&](const auto& s) { return s.first == id; });
    if (known == progress_.sources.end()) known = progress_.sources.insert(known, {id, 0});
    known->second += per[i].bytes;
    if (per[i].lost) progress_.last_trouble = "source " + std::to_string(i) + ": " + per[i].why;
    if (per[i].lost) log::info("catch_up_source_lost", "source=" + std::to_string(i) + " why=\"" + per[i].why + "\"");
  }
  if (stop_.load()) return {Code::kClosed, "stopped"};
  if (stuck) return {Code::kUnavailable, *stuck};
  return {};
}

bool Joiner::lied(const MemberInfo& m) const { return std::find(liars_.begin(), liars_.end(), m.inc) != liars_.end(); }

// What is held now, for a newer snapshot: until the first step is replayed.
void Joiner::remember(Round& round) {
  std::lock_guard lock(round.plan_mutex);
  known_.resize(table_.size());
  known_by_one_ = round.sources.size() == 1;
  for (std::uint32_t i = 0; i < table_.size(); ++i) known_[i] = round.plan->digest_of(i);
  for (std::size_t i = 0; i < round.sources.size(); ++i)
    if (round.plan->sources()[i].lied && !lied(round.sources[i]->who())) liars_.push_back(round.sources[i]->who().inc);
}

// One source's thread. A stripe is received aside, and kept if the plan says so.
void Joiner::fetch_from(Round& round, std::uint32_t source) {
  if (hurry_ < kUrgent) yield_to_collectives();
  SourceLink* const link = round.sources[source].get();
  const SourceLink::Answers answers{
      [&](std::uint32_t stripe, std::span<const std::byte> bytes) {
        const std::uint64_t digest = digest_of(bytes);
        std::lock_guard lock(round.plan_mutex);
        if (round.plan->arrived(source, stripe, digest, now()) && !round.fetched.load())
          std::memcpy(static_cast<std::byte*>(config_.state[table_[stripe].tensor].data) + table_[stripe].offset, bytes.data(), bytes.size());
      },
      [&](std::uint32_t stripe) {
        std::lock_guard lock(round.plan_mutex);
        round.plan->gone(source, stripe, now());
      },
      [&](const Told& told) {
        std::lock_guard lock(round.plan_mutex);
        if (told.there) round.plan->told(source, told.stripe, told.digest, now());
        else round.plan->gone(source, told.stripe, now());
      }};
  while (!round.fetched.load() && !round.over.load()) {
    FetchPlan::Ask ask;
    {
      std::unique_lock lock(round.plan_mutex);
      if (round.plan->done() || round.plan->sources()[source].lost) break;
      ask = round.plan->next(source, now());
      if (ask.empty()) {
        round.plan_news.wait_for(lock, std::chrono::milliseconds(2));
        continue;
      }
    }
    if (Status s = link->get(table_, {ask.stripes, ask.digests}, answers, kPatience); !s) {
      std::lock_guard lock(round.plan_mutex);
      round.plan->lost(source, s.error().detail);
      round.outlived = round.outlived || s.code() == Code::kNoMemory;
      break;
    }
    bool done = false;
    {
      std::lock_guard lock(round.plan_mutex);
      done = round.plan->done();
    }
    if (done) round.plan_news.notify_all();
  }
  link->close();  // the snapshot at the holder goes with it
  round.plan_news.notify_all();
}

}  // namespace regroup::state

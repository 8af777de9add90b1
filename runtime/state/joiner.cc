#include "runtime/state/joiner.h"

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "runtime/state/joiner_round.h"
#include "runtime/state/wire.h"

namespace regroup::state {
namespace {

constexpr Duration kBackoff = Duration::from_ms(50);

}  // namespace

Joiner::Joiner(Config config) : config_(std::move(config)), table_(table_of(config_.state)), spill_(config_.spill_dir) {
  progress_.bytes_total = table_.bytes();
  thread_ = std::thread([this] {
    run();
    std::lock_guard lock(mutex_);
    over_ = true;
    news_.notify_all();
  });  // replays as fast as the members train: of their priority
}

Joiner::~Joiner() {
  stop();
  thread_.join();
}

void Joiner::follow(const Welcome& view) {
  {
    std::lock_guard lock(mutex_);
    if (view.members.empty()) return;
    members_ = view.members;
    epoch_ = view.epoch;
    ++views_;
  }
  news_.notify_all();
}

void Joiner::begin() {
  {
    std::lock_guard lock(mutex_);
    if (!std::exchange(begun_, true)) since_ = now();
  }
  news_.notify_all();
}

void Joiner::hand_over(const Fetch& fetch) {
  {
    std::lock_guard lock(mutex_);
    fetch_ = fetch;
  }
  news_.notify_all();
}

void Joiner::stop() {
  stop_.store(true);
  { std::lock_guard lock(mutex_); }
  news_.notify_all();
}

void Joiner::wait_over() {
  std::unique_lock lock(mutex_);
  news_.wait(lock, [&] { return over_; });
}

Joiner::Progress Joiner::progress() const {
  std::lock_guard lock(mutex_);
  Progress p = progress_;
  if (begun_) p.seconds = static_cast<double>((now() - since_).ns) / 1e9;
  return p;
}

void Joiner::note(const char* phase) {
  std::lock_guard lock(mutex_);
  progress_.phase = phase;
}

void Joiner::run() {
  std::int64_t failures = 0;
  while (!stop_.load()) {
    {
      std::unique_lock lock(mutex_);
      progress_.phase = "waits";
      news_.wait(lock, [&] { return stop_.load() || (begun_ && !members_.empty()); });
      if (stop_.load()) return;
      if (++progress_.rounds == 1) since_ = now();
    }
    const Status over = round();
    if (stop_.load()) return;
    if (over.code() == Code::kConfig || over.code() == Code::kInvalid) return config_.refused(over.error());
    log::info("catch_up_again", "why=\"" + over.error().detail + "\"");
    std::unique_lock lock(mutex_);
    progress_.last_trouble = over.error().detail;
    if (!liars_.empty()) progress_.last_trouble += "; " + std::to_string(liars_.size()) + " of the sources differ from what two others hold";
    if (fetch_) {  // asked in vain
      const Fetch fetch = *std::exchange(fetch_, std::nullopt);
      lock.unlock();
      config_.handed_over(fetch, false, 0);
      lock.lock();
    }
    failures = over.code() == Code::kNoMemory ? 1 : failures + 1;  // a full journal: what has been fetched grows old in a pause
    const Duration pause = kBackoff * std::min<std::int64_t>(failures, 20);
    news_.wait_for(lock, std::chrono::nanoseconds(pause.ns), [&] { return stop_.load(); });
  }
}

Status Joiner::round() {
  Round round(*this, &spill_);
  round.reach = {config_.group, config_.secret, &round.over};
  std::vector<MemberInfo> members;
  {
    std::lock_guard lock(mutex_);
    members = members_;
  }
  Status status = open_sources(round, members);
  if (status.ok()) status = begin_feed(round);
  if (status.ok()) status = take(round);
  if (status.ok()) status = fetch(round);
  if (status.ok()) status = load_blobs(round);
  if (status.ok()) status = replay(round);
  round.over.store(true);
  for (const auto& source : round.sources) source->stop();
  round.fetched.store(true);
  round.plan_news.notify_all();
  for (std::thread& t : round.threads) t.join();
  const bool full = round.feed_error && round.feed_error->code == Code::kNoMemory;
  if (full || (round.outlived && !status.ok())) hurry_ = std::min(hurry_ + 1, kMaxHurry);
  if (full) status = *round.feed_error;
  if (round.level && !stop_.load()) config_.ready(false);
  return status;
}

Status Joiner::load_blobs(const Round& round) {
  if (round.blobs.size() != config_.blobs.size())
    return {Code::kConfig, "registered state differs: " + std::to_string(config_.blobs.size()) + " blobs here, " +
                               std::to_string(round.blobs.size()) + " there"};
  for (std::size_t i = 0; i < config_.blobs.size(); ++i)
    if (Status s = config_.blobs[i].load(round.blobs[i]); !s)
      return {Code::kInvalid, "blob '" + config_.blobs[i].name + "' cannot be loaded: " + s.error().detail};
  return {};
}

}  // namespace regroup::state

// What GroupImpl does for catch-up: the joiner of an incarnation, the owner's updates, the feed.
#include "base/clock.h"
#include "base/log.h"
#include "runtime/api/group_impl.h"

namespace regroup {
namespace {

// Bytes of the whole result where every member holds the same; nullopt: each has its own.
std::optional<std::size_t> whole_bytes(const OpState& op, const Outcome& outcome) {
  const OpDesc& desc = op.exec.desc;
  switch (desc.kind) {
    case OpKind::kAllReduce:
    case OpKind::kBroadcast: return desc.bytes();
    case OpKind::kBarrier: return 0;
    case OpKind::kAllGather: return desc.bytes() * outcome.contributors();
    case OpKind::kAllGatherV: {
      std::size_t elements = 0;
      for (std::uint64_t n : op.exec.tables->counts) elements += n;
      return elements * size_of(desc.type);
    }
    default: return std::nullopt;
  }
}

}  // namespace

void GroupImpl::settled(const OpState& op, const Result<Outcome>& result, std::uint64_t steps) {
  if (!holder_) return;
  state::Entry entry;
  entry.op = op.exec.id;
  entry.code = result.code();
  entry.mark = op.exec.desc.mark();
  entry.step = steps;
  std::span<const std::byte> data;
  if (result) {
    entry.contributors = static_cast<std::uint32_t>(result->contributors());
    const std::optional<std::size_t> bytes = whole_bytes(op, *result);
    entry.whole = bytes.has_value();
    if (bytes) data = {static_cast<const std::byte*>(op.exec.out), *bytes};
  }
  holder_->feed().publish(std::move(entry), data);
}

Status GroupImpl::begin_update(std::span<const StateRange> ranges) {
  if (!holder_) return {};
  for (const StateRange& r : ranges)
    if (r.buffer >= options_.state.size()) return {Code::kInvalid, "begin_update: there is no buffer " + std::to_string(r.buffer)};
  const Engine::Snapshot s = engine_.snapshot();
  if (s.submitted != s.committed) return {Code::kInvalid, "begin_update: ops are pending"};
  holder_->begin_update(ranges);
  return {};
}

Status GroupImpl::end_update() {
  if (!holder_) return {};
  const Engine::Snapshot s = engine_.snapshot();
  if (s.submitted != s.committed) return {Code::kInvalid, "end_update: ops are pending, so the state is as of no step"};
  holder_->end_update(s.steps, s.committed);
  if (const auto view = engine_.view(); checkpointer_ && view && checkpointer_->due(s.steps, view->self, view->size()))
    checkpointer_->begin(s.steps);
  return {};
}

CatchUp GroupImpl::caught_up() const {
  std::lock_guard lock(joiner_mutex_);
  CatchUp report;
  report.seconds = caught_up_.seconds;
  report.snapshots = caught_up_.rounds;
  report.replayed_steps = caught_up_.replayed;
  report.trouble = caught_up_.last_trouble;
  report.kept_bytes = caught_up_.kept;
  report.compared_bytes = caught_up_.compared;
  report.bytes_per_source = caught_up_.sources;
  return report;
}

std::shared_ptr<state::Joiner> GroupImpl::joiner() const {
  std::lock_guard lock(joiner_mutex_);
  return joiner_;
}

void GroupImpl::follow(const Welcome& view) {
  if (const auto j = joiner()) j->follow(view);
}

void GroupImpl::new_joiner() {
  state::Joiner::Config config;
  config.group = options_.group;
  config.secret = options_.secret;
  config.state = options_.state;
  config.blobs = options_.blobs;
  config.apply = options_.apply;
  config.journal_bytes = options_.journal_bytes;
  config.spill_bytes = options_.spill_bytes;
  config.spill_dir = options_.spill_dir;
  const state::Holder::Version own = holder_->own();
  config.floor = std::max(checkpoint_step_, own.known ? own.step : 0);
  config.floor_slack = options_.window + 1;
  config.overwrites = [this] { holder_->forget(); };
  config.ready = [this](bool level) { post(Parked{level ? Readiness::kLevel : Readiness::kFounder}); };
  config.handed_over = [this](const Fetch& fetch, bool ok, std::uint64_t steps) {
    if (ok) {
      engine_.set_steps(steps);
      holder_->feed().begin(fetch.op);
      holder_->set_version(steps, fetch.op);
      std::lock_guard lock(joiner_mutex_);
      if (joiner_) caught_up_ = joiner_->progress();
      restore_ns_.store(static_cast<std::int64_t>(caught_up_.seconds * 1e9));
      recorder_.record(Event::kRestored, fetch.op, 0, static_cast<std::uint16_t>(fetch.source.id.replica));
    }
    post(LevelReached{fetch.plan, fetch.op, ok});
  };
  config.refused = [this](const Error& why) { engine_.close(why.code, why.detail, false); };
  auto fresh = std::make_shared<state::Joiner>(std::move(config));
  std::shared_ptr<state::Joiner> old;
  std::lock_guard lock(joiner_mutex_);
  old = std::exchange(joiner_, std::move(fresh));
  std::swap(retired_, old);
}

}  // namespace regroup

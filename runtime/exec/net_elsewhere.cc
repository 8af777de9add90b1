// What NetPlane does for ops that are carried out elsewhere: declares them, shows digests of what was made there, and
// carries letters of those who do it. Letters and digests go before `prepared`, in the order in which they were given.
#include <algorithm>

#include "base/check.h"
#include "runtime/exec/net_plane.h"

namespace regroup {

RunResult NetPlane::declare(ExecOp& op, ExecContext& context, std::uint32_t ready) {
  RunResult begun = begin(op, context);
  if (begun.state != RunState::kPrepared) return begun;
  held_ = true;
  number_ = ready;
  return begun;
}

RunResult NetPlane::await_declared(ExecContext& context, const std::function<bool()>& meanwhile) {
  std::optional<RunResult> differs;
  bool stopped = false;
  const RunResult result = await(context, [&] {
    stopped = meanwhile();
    differs = mismatch();
    const auto told = [&](const PeerState& p) { return &p == &peers_[self_] || (p.same && p.ready_sent); };
    return stopped || differs.has_value() || (first_told_ && std::all_of(peers_.begin(), peers_.end(), told));
  });
  if (differs) return *differs;
  return stopped ? RunState::kStopped : result;
}

bool NetPlane::all_ready(std::uint32_t number) const {
  const auto ready = [&](const PeerState& p) { return &p == &peers_[self_] || p.number == number; };
  return number != 0 && number == number_ && std::all_of(peers_.begin(), peers_.end(), ready);
}

std::span<std::byte> NetPlane::give_away() {
  RG_CHECK(active_ != 0 && held_);
  active_ = 0;
  held_ = false;
  return {out_, plan_.output_bytes};
}

bool NetPlane::direct(const ExecOp& op) const {
  algo::Plan plan;  // that of the op before may still be at work
  return plan_for(op, plan) == algo::Form::kDirect;
}

RunResult NetPlane::declare(ExecOp& op, ExecContext& context, std::uint32_t kind, Stage::There there) {
  RunResult begun = begin(op, context);
  if (begun.state != RunState::kPrepared) return begun;
  number_ = there.result != nullptr && there.result_bytes >= plan_.output_bytes ? kind : 0;
  held_ = asks_ = true;
  offered_ = there;
  decide();
  return begun;
}

// A frame of the op may come before all descriptors have: from a peer that has them, so they are under way to me too. It is held
// till then, and must not wait for anything else, since what it holds back may be `prepared` of the op before.
void NetPlane::decide() {
  if (!asks_ || where_ != Where::kUnknown) return;
  bool all = true, no = number_ == 0;
  for (const PeerState& p : peers_) {
    if (&p == &peers_[self_]) continue;
    if (!p.ready_seen || !p.same) all = false;
    else if (p.number != number_) no = true;
  }
  if (no) where_ = Where::kHere;
  if (no || !all) return;
  where_ = Where::kThere;
  device_trouble_ = device_->begin({desc_, &plan_, self_, peers_.size(), static_cast<const std::byte*>(offered_.in), offered_.result});
  there_ = true;
  held_ = false;
}

RunResult NetPlane::await_where(ExecContext& context) {
  std::optional<RunResult> differs;
  const RunResult result = await(context, [&] { return (differs = mismatch()).has_value() || where_ != Where::kUnknown; });
  return differs ? *differs : result;
}

RunResult NetPlane::run_there(ExecContext& context) {
  std::optional<RunResult> ended;
  const RunResult out = await(context, [&] { return (ended = device_broken()).has_value() || complete(); });
  return ended ? *ended : out;
}

std::optional<RunResult> NetPlane::device_broken() const {
  if (!there_) return std::nullopt;
  if (!device_trouble_) {
    RunResult lost(device_trouble_.code() == Code::kNoMemory ? RunState::kNoMemory : RunState::kLost);
    lost.detail = device_trouble_.error().detail;
    return lost;
  }
  if (!device_->corrupt()) return std::nullopt;
  RunResult result(RunState::kBroken);
  result.other = *device_->corrupt();
  result.detail = "the checksum of a payload on the device differs";
  return result;
}

bool NetPlane::produce_there(bool& whole) {
  if (!device_trouble_) return false;
  const Result<bool> moved = device_->turn();
  if (!moved) device_trouble_ = moved.error();
  whole = device_->placed();
  return moved && *moved;
}

void NetPlane::show_digest(OpId op, std::uint64_t digest) {
  shown_.push_back({op, digest});
  for (std::size_t i = 0; i < peers_.size(); ++i)
    if (i != self_) peers_[i].digests_due.push_back({op, digest});
}

// How far this peer counts as prepared: not past an op of which I have shown a digest and it has not.
OpId NetPlane::observe_digests(PeerState& p, CommitCounter& counter) {
  if (shown_.empty() && p.digests.empty()) return p.prepared_seen;
  const auto over = [&](const Digest& d) { return d.op <= counter.committed(); };
  std::erase_if(shown_, over);
  std::erase_if(p.digests, over);
  OpId seen = p.prepared_seen;
  for (const Digest& d : p.digests) counter.observe_digest(d.op, d.digest);
  for (const Digest& mine : shown_)
    if (std::none_of(p.digests.begin(), p.digests.end(), [&](const Digest& d) { return d.op == mine.op; }))
      seen = std::min(seen, mine.op - 1);
  return seen;
}

bool NetPlane::place_aside(PeerState& p, const wire::Frame& frame, tcp::Placement& placement) {
  if (frame.type == kDigest) {
    if (frame.length == 0 && p.digests.size() < kMaxEarly) placement = {tcp::Take::kInto, nullptr};
    return true;
  }
  if (frame.type != kLetter) return false;
  if (frame.length > kMaxLetter || !heard_) return true;  // refused
  p.letter.resize(frame.length);
  placement = {tcp::Take::kInto, p.letter.data()};
  return true;
}

bool NetPlane::arrived_aside(std::size_t peer, const wire::Frame& frame) {
  PeerState& p = peers_[peer];
  if (frame.type == kLetter)
    heard_(peer, p.letter);
  else
    p.digests.push_back({frame.op, frame.offset});
  return true;
}

bool NetPlane::next_aside(PeerState& p, tcp::Outgoing& out) {
  if (p.letters_sent < p.letters.size()) {
    const std::vector<std::byte>& letter = p.letters[p.letters_sent++];
    out.frame.type = kLetter;
    out.frame.op = 0;
    wire::fill(out.frame, letter);
    out.payload = letter.data();
    return true;
  }
  if (p.digests_due.empty()) return false;
  out.frame.type = kDigest;
  out.frame.op = p.digests_due.front().op;
  out.frame.offset = p.digests_due.front().digest;
  wire::fill(out.frame, {});
  p.digests_due.pop_front();
  return true;
}

}  // namespace regroup

#include "runtime/exec/net_plane.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "kernels/kernels.h"
#include "transport/wire/address.h"

namespace regroup {
namespace {

constexpr std::size_t kChunkBytes = 1u << 20;   // of a frame
constexpr std::size_t kFoldBytes = 256u << 10;  // folded and sent on at a time
constexpr std::size_t kStreamBytes = 2u << 20;

std::vector<std::byte> encode(const OpDesc& d) {
  Writer w;
  w.u8(static_cast<std::uint8_t>(d.kind));
  w.u8(static_cast<std::uint8_t>(d.type));
  w.u8(static_cast<std::uint8_t>(d.reduce));
  w.u8(d.mark);
  w.u32(d.root);
  w.u64(d.count);
  w.u64(d.seen_epoch);
  w.u64(0);
  return w.take();
}

}  // namespace

NetStaging::Block NetStaging::take(std::size_t bytes) {
  std::lock_guard lock(mutex_);
  auto fits = std::find_if(free_.begin(), free_.end(), [&](const Block& b) { return b.bytes >= bytes; });
  if (fits != free_.end()) {
    Block block = std::move(*fits);
    free_.erase(fits);
    return block;
  }
  return {Memory(new std::byte[bytes]), bytes};
}

void NetStaging::give(Block block) {
  if (!block.memory) return;
  std::lock_guard lock(mutex_);
  if (free_.size() < 64) free_.push_back(std::move(block));
}

Result<std::unique_ptr<NetPlane>> NetPlane::open(tcp::LinkSet& links, NetStaging& staging, const View& view, std::size_t self,
                                                 Config config) {
  std::vector<tcp::Peer> peers;
  for (const MemberInfo& m : view.members) {
    Result<wire::MemberAddress> address = wire::decode_address(m.address);
    if (!address) return Error{Code::kRefused, "address of member " + to_string(m.id) + ": " + address.error().detail};
    peers.push_back({m.id, m.inc, {address->data_host, address->data_port}});
  }
  std::unique_ptr<NetPlane> plane(new NetPlane(links, staging, self, peers.size(), config));
  links.enter(view.epoch, peers, self, *plane);
  return plane;
}

NetPlane::~NetPlane() {
  links_.leave(*this);
  staging_.give(std::move(result_));
  for (PeerState& p : peers_) staging_.give(std::move(p.input));
}

// --- the plan ---

// Bytes of the result of a large op that a member places.
algo::Range NetPlane::part(std::size_t member) const {
  switch (desc_.kind) {
    case OpKind::kAllReduce: {
      const algo::Range shard = algo::shard_range(desc_.count, peers_.size(), member);
      return {shard.begin * size_of(desc_.type), shard.end * size_of(desc_.type)};
    }
    case OpKind::kAllGather: return {member * desc_.bytes(), (member + 1) * desc_.bytes()};
    case OpKind::kBroadcast: return {0, member == root_ ? desc_.bytes() : 0};
    case OpKind::kBarrier: return {};
  }
  return {};
}

RunResult NetPlane::begin(ExecOp& op, ExecContext& context) {
  const RunResult flushed = pump_until(context, [&] { return unsent() == 0 && !links_.sending(); });
  if (flushed.state != RunState::kPrepared) return flushed;
  const std::size_t n = peers_.size(), whole = op.desc.result_bytes(n);
  active_ = op.id;
  desc_ = op.desc;
  root_ = op.root_index;
  in_ = static_cast<const std::byte*>(op.in);
  small_ = std::max(desc_.bytes(), whole) <= config_.small_bytes;
  made_ = 0;
  folded_ = first_out_ = first_told_ = placed_told_ = false;
  const std::size_t mine = part(self_).size();
  if (!small_ && whole + n * mine > config_.staging_bytes) {
    RunResult result(RunState::kBroken);
    result.other = self_;
    result.detail = "op of " + std::to_string(whole) + " bytes needs more staging than staging_bytes";
    return result;
  }
  if (result_.bytes < whole) {
    staging_.give(std::move(result_));
    result_ = staging_.take(whole);
  }
  ready_out_ = encode(desc_);
  const bool carries = small_ && desc_.bytes() != 0 && (desc_.kind != OpKind::kBroadcast || self_ == root_);
  if (carries) ready_out_.insert(ready_out_.end(), in_, in_ + desc_.bytes());
  for (PeerState& p : peers_) {
    p.ready_sent = p.ready_seen = false;
    p.input_sent = p.input_got = p.result_sent = p.result_got = 0;
    if (small_ || desc_.kind != OpKind::kAllReduce || p.input.bytes >= mine) continue;
    staging_.give(std::move(p.input));
    p.input = staging_.take(mine);
  }
  op.plan = small_ ? "small" : "direct";
  op.progress.stage = 1;
  return RunState::kPrepared;
}

bool NetPlane::complete() const {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (i == self_) continue;
    if (!peers_[i].ready_seen || (!small_ && peers_[i].result_got < part(i).size())) return false;
  }
  return small_ ? folded_ : made_ == part(self_).size();
}

// Folds what has come. Large: my part, as far as all inputs reach. Small: everything, once all inputs are here.
bool NetPlane::produce(ExecContext& context) {
  const std::size_t n = peers_.size(), bytes = desc_.bytes(), mine = part(self_).size();
  std::byte* out = result_.memory.get();
  if (small_) {
    if (folded_) return false;
    sources_.assign(n, nullptr);
    for (std::size_t i = 0; i < n; ++i) {
      if (i != self_ && !peers_[i].ready_seen) return false;
      sources_[i] = i == self_ ? in_ : peers_[i].ready.data() + kDescBytes;
    }
    if (mismatch()) return false;
    if (bytes == 0) return folded_ = true;  // no pointer need be valid
    switch (desc_.kind) {
      case OpKind::kAllReduce: kernels::reduce(desc_.type, desc_.reduce, out, sources_, desc_.count); break;
      case OpKind::kBroadcast: std::memcpy(out, sources_[root_], bytes); break;
      case OpKind::kAllGather:
        for (std::size_t i = 0; i < n; ++i) std::memcpy(out + i * bytes, sources_[i], bytes);
        break;
      case OpKind::kBarrier: break;
    }
    return folded_ = true;
  }
  if (made_ == mine) return false;
  const algo::Range range = part(self_);
  std::size_t reach = mine;
  if (desc_.kind == OpKind::kAllReduce) {
    for (std::size_t i = 0; i < n; ++i) {
      if (i == self_) continue;
      if (!peers_[i].ready_seen) return false;
      reach = std::min(reach, peers_[i].input_got);
    }
  }
  const std::size_t size = size_of(desc_.type);
  const std::size_t step = std::min((reach - made_) / size * size, kFoldBytes);
  if (step == 0) return false;
  if (desc_.kind == OpKind::kAllReduce) {
    sources_.assign(n, nullptr);
    for (std::size_t i = 0; i < n; ++i)
      sources_[i] = (i == self_ ? in_ + range.begin : peers_[i].input.memory.get()) + made_;
    kernels::reduce(desc_.type, desc_.reduce, out + range.begin + made_, sources_, step / size);
  } else {
    kernels::copy(out + range.begin + made_, in_ + made_, step);
  }
  made_ += step;
  if (made_ == mine && !std::exchange(placed_told_, true)) context.failpoints->hit(Point::kAfterPlaced);
  return true;
}

// --- what the links ask ---

tcp::Placement NetPlane::place(std::size_t peer, const wire::Frame& frame) {
  PeerState& p = peers_[peer];
  if (frame.type == kPrepared) return {frame.length == 0 ? tcp::Take::kInto : tcp::Take::kRefuse, nullptr};
  if (active_ == 0 || frame.op > active_) return {tcp::Take::kHold, nullptr};
  if (frame.op < active_) return {tcp::Take::kDiscard, nullptr};
  if (frame.type == kReady) {
    if (p.ready_seen || frame.length < kDescBytes || frame.length > kDescBytes + config_.small_bytes) return {};
    p.ready.resize(frame.length);
    return {tcp::Take::kInto, p.ready.data()};
  }
  // Bytes of a peer whose descriptor differs have no place here; the decision that fails the op is under way.
  if (!p.ready_seen || !std::equal(p.ready.begin(), p.ready.begin() + kDescBytes, ready_out_.begin()))
    return {p.ready_seen ? tcp::Take::kDiscard : tcp::Take::kRefuse, nullptr};
  const bool input = frame.type == kInput && desc_.kind == OpKind::kAllReduce;
  if (small_ || (!input && frame.type != kResult)) return {};
  const std::size_t got = input ? p.input_got : p.result_got;
  const std::size_t size = input ? part(self_).size() : part(peer).size();
  if (frame.offset != got || frame.length > size - got) return {};  // in order and within its bounds, or a breach
  std::byte* base = input ? p.input.memory.get() : result_.memory.get() + part(peer).begin;
  return {tcp::Take::kInto, base + got};
}

bool NetPlane::arrived(std::size_t peer, const wire::Frame& frame) {
  PeerState& p = peers_[peer];
  if (frame.type == kPrepared) {
    p.prepared_seen = std::max(p.prepared_seen, frame.op);
    return true;
  }
  if (frame.op != active_) return true;
  if (frame.type == kReady) p.ready_seen = true;
  if (frame.type == kInput) p.input_got += frame.length;
  if (frame.type == kResult) p.result_got += frame.length;
  return true;
}

bool NetPlane::next(std::size_t peer, tcp::Outgoing& out) {
  PeerState& p = peers_[peer];
  out.frame = {};
  out.frame.op = active_;
  const auto payload = [&](Type type, std::size_t offset, const std::byte* data, std::size_t bytes) {
    out.frame.type = type;
    out.frame.offset = offset;
    out.frame.chunk = static_cast<std::uint32_t>(offset / kChunkBytes);
    wire::fill(out.frame, {data, bytes});
    out.payload = data;
    return true;
  };
  if (active_ != 0 && !p.ready_sent) {
    p.ready_sent = true;
    return payload(kReady, 0, ready_out_.data(), ready_out_.size());
  }
  if (active_ != 0 && !first_told_ && p.ready_sent) return false;  // the failpoint of the first frame comes before the second
  if (active_ != 0 && !small_) {
    if (desc_.kind == OpKind::kAllReduce && p.input_sent < part(peer).size()) {
      const std::size_t at = p.input_sent, bytes = std::min(part(peer).size() - at, kChunkBytes);
      p.input_sent += bytes;
      return payload(kInput, at, in_ + part(peer).begin + at, bytes);
    }
    if (p.result_sent < made_) {
      const std::size_t at = p.result_sent, bytes = std::min(made_ - at, kChunkBytes);
      p.result_sent += bytes;
      return payload(kResult, at, result_.memory.get() + part(self_).begin + at, bytes);
    }
  }
  if (p.prepared_sent >= announce_) return false;
  p.prepared_sent = announce_;
  out.frame.op = announce_;
  return payload(kPrepared, 0, nullptr, 0);
}

bool NetPlane::flushed(std::size_t) { return !std::exchange(first_out_, true); }

std::size_t NetPlane::unsent() const {
  std::size_t count = 0;
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (i == self_) continue;
    const PeerState& p = peers_[i];
    count += p.prepared_sent < announce_ || (active_ != 0 && (!p.ready_sent || (!small_ && p.result_sent < made_)));
  }
  return count;
}

// --- running ---

std::optional<RunResult> NetPlane::mismatch() const {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const PeerState& p = peers_[i];
    if (i == self_ || !p.ready_seen || std::equal(p.ready.begin(), p.ready.begin() + kDescBytes, ready_out_.begin())) continue;
    RunResult result(RunState::kMismatch);
    result.other = i;
    result.stale_epoch = std::equal(p.ready.begin(), p.ready.begin() + 16, ready_out_.begin());  // all but seen_epoch
    return result;
  }
  return std::nullopt;
}

std::optional<RunResult> NetPlane::broken() const {
  const std::size_t peer = links_.first_broken();
  if (peer >= peers_.size()) return std::nullopt;
  const tcp::LinkState state = links_.state(peer);
  RunResult result(RunState::kBroken);
  result.other = peer;
  result.accuse = state.unreachable;
  result.detail = state.why;
  return result;
}

template <class Done>
RunResult NetPlane::pump_until(ExecContext& context, Done done) {
  Instant asked = now();
  for (int idle = 0;;) {
    if (context.should_stop()) return RunState::kStopped;
    if (done()) return RunState::kPrepared;
    if (auto result = broken()) return *result;
    const bool moved = links_.pump(idle > 20 ? Duration::from_ms(2) : Duration{});
    if (first_out_ && !std::exchange(first_told_, true)) context.failpoints->hit(Point::kAfterFirstChunk);
    if (context.should_stop()) return RunState::kStopped;
    const bool made = active_ != 0 && produce(context);
    idle = moved || made ? 0 : idle + 1;
    if (idle < 20) continue;
    const Instant at = now();
    if (at >= context.deadline) return done() ? RunState::kPrepared : RunState::kStopped;
    if (at - asked > Duration::from_ms(1)) {
      asked = at;
      context.check_peers();
    }
  }
}

RunResult NetPlane::run(ExecOp& op, ExecContext& context) {
  if (active_ != op.id || op.progress.stage == 0)
    if (RunResult r = begin(op, context); r.state != RunState::kPrepared) return r;
  std::optional<RunResult> differs;
  RunResult result = pump_until(context, [&] { return (differs = mismatch()).has_value() || complete(); });
  return differs ? *differs : result;
}

void NetPlane::announce_prepared(OpId op) {
  announce_ = op;
  links_.pump({});
}

RunResult NetPlane::await_commit(OpId op, CommitCounter& counter, ExecContext& context) {
  return pump_until(context, [&] {
    for (std::size_t i = 0; i < peers_.size(); ++i)
      if (i != self_) counter.observe(i, peers_[i].prepared_seen);
    return counter.committable() >= op;
  });
}

void NetPlane::copy_out(ExecOp& op) {
  RG_CHECK(active_ == op.id);
  const std::size_t whole = op.desc.result_bytes(peers_.size());
  if (whole != 0 && op.out != nullptr)
    kernels::copy(op.out, result_.memory.get(), whole, whole >= kStreamBytes ? kernels::Store::kStream : kernels::Store::kCached);
}

bool NetPlane::pump() {
  if (unsent() == 0 && !links_.sending()) return false;
  links_.pump({});
  return unsent() != 0 || links_.sending();
}

}  // namespace regroup

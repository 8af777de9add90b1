#include "runtime/exec/net_plane.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "base/bytes.h"
#include "base/check.h"
#include "kernels/kernels.h"
#include "transport/wire/address.h"

namespace regroup {
namespace {

constexpr std::size_t kStreamBytes = 2u << 20;
constexpr int kSpins = 20;                         // turns without progress before the thread sleeps
constexpr Duration kSleep = Duration::from_ms(1);  // in the kernel; then stop and deadline are looked at
constexpr Duration kNap = Duration::from_us(20);   // likewise, while a device is at work, which wakes nobody

kernels::Store store_for(std::size_t bytes) {
  return bytes >= kStreamBytes ? kernels::Store::kStream : kernels::Store::kCached;
}

void encode(const OpDesc& d, algo::Form form, Writer& w) {
  w.u8(static_cast<std::uint8_t>(d.kind));
  w.u8(static_cast<std::uint8_t>(d.type));
  w.u8(static_cast<std::uint8_t>(d.reduce));
  w.u8(d.flags);
  w.u32(d.root);
  w.u64(d.count);
  w.u64(d.seen_epoch);
  w.u64(static_cast<std::uint64_t>(form));  // who would carry the op out otherwise is found out before anybody prepares
}

std::vector<Incarnation> incarnations_of(const std::vector<tcp::Peer>& peers) {
  std::vector<Incarnation> list;
  for (const tcp::Peer& peer : peers) list.push_back(peer.inc);
  return list;
}

}  // namespace

Result<std::unique_ptr<NetPlane>> NetPlane::open(tcp::LinkSet& links, NetStaging& staging, const View& view,
                                                 std::size_t self, Config config) {
  std::vector<tcp::Peer> peers;
  for (const MemberInfo& m : view.members) {
    Result<wire::MemberAddress> address = wire::decode_address(m.address);
    if (!address) return Error{Code::kRefused, "address of member " + to_string(m.id) + ": " + address.error().detail};
    peers.push_back({m.id, m.inc, {address->data_host, address->data_port}});
  }
  std::unique_ptr<NetPlane> plane(new NetPlane(links, staging, self, peers, config));
  const auto here = [&](const tcp::Peer& p) { return p.at.host == peers[self].at.host; };
  plane->crowded_ = std::count_if(peers.begin(), peers.end(), here) > std::max(1u, std::thread::hardware_concurrency());
  links.enter(view.epoch, peers, self, *plane);
  return plane;
}

NetPlane::NetPlane(tcp::LinkSet& links, NetStaging& staging, std::size_t self, const std::vector<tcp::Peer>& peers,
                   Config config)
    : links_(links),
      staging_(staging),
      self_(self),
      peers_(peers.size()),
      config_(config),
      pairs_(staging, config.staging_bytes, incarnations_of(peers)) {
  if (config_.rules.hosts.size() == peers.size()) leaders_ = algo::leaders_of(config_.rules.hosts);
  lay_ways();
}

void NetPlane::leave() {
  if (std::exchange(left_, true)) return;
  links_.leave(*this);
  late_ = links_.late();
}

// Where bytes may come late, memory that they may come to rests with the links.
NetPlane::~NetPlane() {
  leave();
  const auto give = [&](NetStaging::Block& block) { late_ ? links_.keep(std::move(block.memory)) : staging_.give(std::move(block)); };
  give(spare_), give(scaled_), give(scratch_);
  for (Output& o : outputs_) give(o.block);
  for (PeerState& p : peers_) give(p.input);
  pairs_.give(give);
  if (device_ == nullptr) return;
  if (std::shared_ptr<std::byte> landed = device_->drop(); late_) links_.keep(std::move(landed));
}

// --- the op at hand ---

const algo::Piece* NetPlane::foreign() const {
  if (plan_.place.empty()) return nullptr;
  const algo::Piece& piece = plan_.place.front();
  return piece.bytes != 0 && (piece.fold || piece.from != self_) ? &piece : nullptr;
}

std::size_t NetPlane::input_from(std::size_t peer) const {
  const algo::Piece* piece = foreign();
  return piece != nullptr && (piece->fold || piece->from == peer) ? piece->bytes : 0;
}

std::size_t NetPlane::stands() const { return foreign() != nullptr ? made_ : plan_.placed_bytes[self_]; }

// Where byte `at` of what I place lies: a copy of my own input is sent from there.
const std::byte* NetPlane::placed_at(std::size_t at) const {
  if (foreign() != nullptr) return placed_ + at;
  for (const algo::Piece& piece : plan_.place)
    if (at >= piece.to && at < piece.to + piece.bytes) return in_ + piece.at + (at - piece.to);
  return in_;
}

// Room for `bytes` in a block that stays with this plane; contents may go.
bool NetPlane::reserve(NetStaging::Block& block, std::size_t bytes) {
  if (block.bytes >= bytes) return true;
  staging_.give(std::move(block));
  block = staging_.take(bytes);
  return block.memory != nullptr;
}

algo::Form NetPlane::plan_for(const ExecOp& op, algo::Plan& plan) const {
  const std::size_t n = peers_.size();
  algo::make_plan({op.desc, n, self_, op.root_index, op.tables.get(), algo::spread_for(n, false), &leaders_}, plan);
  if (config_.elsewhere && config_.elsewhere(op.desc)) return algo::Form::kDirect;
  return algo::choose(op.desc, plan, n, config_.rules);
}

RunResult NetPlane::begin(ExecOp& op, ExecContext& context) {
  std::optional<RunResult> ended;
  const RunResult flushed = pump_until(context, [&] { return (ended = device_broken()).has_value() || (unsent() == 0 && !links_.sending()); });
  if (ended) return *ended;
  if (flushed.state != RunState::kPrepared) return flushed;
  std::erase_if(outputs_,
                [&](Output& o) { return o.op <= released_ ? (staging_.give(std::move(o.block)), true) : false; });
  const std::size_t n = peers_.size();
  if (!planned_ || !(desc_ == op.desc) || root_ != op.root_index || tables_ != op.tables) {
    form_ = plan_for(op, plan_);
    if (routed()) algo::make_route({op.desc, n, self_, op.root_index, op.tables.get(), algo::spread_for(n, false), &leaders_}, plan_, form_, route_);
    planned_ = true;
  }
  active_ = op.id;
  number_ = 0;
  desc_ = op.desc;
  root_ = op.root_index;
  tables_ = op.tables;
  in_ = static_cast<const std::byte*>(op.in);
  small_ = form_ == algo::Form::kSmall;
  made_ = kept_ = 0;
  folded_ = held_ = asks_ = there_ = first_out_ = first_told_ = placed_told_ = false;
  where_ = Where::kUnknown;
  chunk_ = algo::chunk_of(plan_.placed_bytes[self_]);
  sums_.clear();
  const auto refuse = [&](const std::string& why) {
    RunResult result(RunState::kNoMemory);
    result.other = self_;
    result.detail = "an op of " + std::to_string(plan_.output_bytes) + " bytes " + why;
    active_ = 0;
    return result;
  };
  const std::size_t mine = foreign() != nullptr && form_ == algo::Form::kDirect ? foreign()->bytes : 0;
  const std::size_t scratch = routed() ? route_.scratch_bytes : 0;
  const bool in_output = plan_.takes[self_].bytes == mine;  // what I make is part of my own output
  const std::size_t scaled = op.desc.scaled() ? plan_.input_bytes : 0;
  if (!small_ && plan_.output_bytes + n * mine + scratch + scaled > config_.staging_bytes)
    return refuse("needs more than staging_bytes=" + std::to_string(config_.staging_bytes));
  const bool idle = form_ == algo::Form::kHierarchical && !leads();  // no byte of this op goes through here
  Output output{op.id, idle ? 0 : plan_.output_bytes, {}};
  if (!reserve(output.block, output.bytes) || !reserve(spare_, in_output ? 0 : mine) || !reserve(scaled_, scaled) ||
      !reserve(scratch_, scratch))
    return refuse("found no memory");
  for (std::size_t i = 0; i < n; ++i) {
    PeerState& p = peers_[i];
    p.ready_sent = p.ready_seen = p.same = false;
    p.number = 0;
    p.input_sent = p.input_got = p.result_sent = p.result_got = 0;
    if (i != self_ && mine != 0 && foreign()->fold && !reserve(p.input, mine)) return refuse("found no memory");
  }
  std::erase_if(outputs_, [&](const Output& o) { return o.op == op.id; });
  out_ = output.block.memory.get();
  placed_ = in_output ? out_ + plan_.takes[self_].to : spare_.memory.get();
  outputs_.push_back(std::move(output));
  if (scaled != 0) {
    kernels::scale(desc_.type, scaled_.memory.get(), in_, op.scalar.data(), scaled / size_of(desc_.type));
    in_ = scaled_.memory.get();
  }
  if (routed())
    hops_.begin(route_, desc_, self_, n, {in_, out_, scratch_.memory.get()},
                route_.once && route_.largest_bytes <= config_.rules.small_bytes);
  Writer w;
  encode(desc_, form_, w);
  if (plan_.told)
    for (const algo::Span& give : plan_.gives) w.u64(give.bytes);
  ready_out_ = w.take();
  if (small_ && plan_.input_bytes != 0) ready_out_.insert(ready_out_.end(), in_, in_ + plan_.input_bytes);
  for (std::size_t i = 0; i < n; ++i) {  // descriptors that were here before
    if (take_early(i)) continue;
    RunResult result(RunState::kBroken);
    result.other = i;
    result.detail = "descriptor of a wrong size";
    return result;
  }
  op.plan = algo::name_of(form_);
  op.progress.stage = 1;
  return RunState::kPrepared;
}

// Who sends me nothing may still have to be compared with; a barrier of hops has no bytes, but messages.
bool NetPlane::complete_route() const {
  for (std::size_t i = 0; i < peers_.size(); ++i)
    if (i != self_ && hops_.hears(i) && !peers_[i].same) return false;
  return hops_.made() && (!route_.gathers || folded_);
}

bool NetPlane::complete() const {
  if (routed()) return complete_route();
  if (there_) return device_->complete();
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (i == self_) continue;
    if (!peers_[i].same || (!small_ && peers_[i].result_got < plan_.takes[i].bytes)) return false;
  }
  if (small_) return folded_;
  if (foreign() != nullptr) return made_ == foreign()->bytes;
  return kept_ == plan_.takes[self_].bytes;
}

// Small, gather: my whole output, once all inputs are here.
bool NetPlane::make_small() {
  const std::size_t n = peers_.size();
  if (folded_ || (!small_ && !hops_.made())) return false;
  for (std::size_t i = 0; i < n && small_; ++i)
    if (i != self_ && !peers_[i].same) return false;
  const auto input = [&](std::size_t i) -> const std::byte* {
    if (!small_) return scratch_.memory.get() + route_.inputs[i];
    return i == self_ ? in_ : peers_[i].ready.data() + kDescBytes;
  };
  for (const algo::Piece& piece : plan_.result) {
    if (piece.bytes == 0) continue;  // no pointer need be valid
    if (!piece.fold) {
      std::memcpy(out_ + piece.to, input(piece.from) + piece.at, piece.bytes);
      continue;
    }
    sources_.assign(n, nullptr);
    for (std::size_t i = 0; i < n; ++i) sources_[i] = input(i) + piece.at;
    kernels::reduce(desc_.type, desc_.reduce, out_ + piece.to, sources_, piece.bytes / size_of(desc_.type));
  }
  return folded_ = true;
}

// Large: one chunk of what I make of others' inputs, if they reach so far; or of my own block's copy for my own output.
bool NetPlane::make_placed() {
  const std::size_t n = peers_.size();
  const algo::Piece* piece = foreign();
  if (piece == nullptr) {
    const algo::Take& take = plan_.takes[self_];
    const std::size_t step = std::min(take.bytes - kept_, chunk_);
    if (step == 0) return false;
    kernels::copy(out_ + take.to + kept_, placed_at(plan_.gives[self_].at) + kept_, step, store_for(take.bytes));
    kept_ += step;
    return true;
  }
  const std::size_t step = std::min(piece->bytes - made_, chunk_);
  if (step == 0) return false;
  if (!piece->fold) {  // its owner's bytes arrive in place
    const std::size_t got = peers_[piece->from].input_got;
    return got == made_ ? false : (made_ = got, true);
  }
  sources_.assign(n, nullptr);
  for (std::size_t i = 0; i < n; ++i) {
    if (i != self_ && (!peers_[i].same || peers_[i].input_got < made_ + step)) return false;
    sources_[i] = (i == self_ ? in_ + piece->at : peers_[i].input.memory.get()) + made_;
  }
  kernels::reduce(desc_.type, desc_.reduce, placed_ + made_, sources_, step / size_of(desc_.type));
  made_ += step;
  return true;
}

bool NetPlane::produce(ExecContext& context) {
  if (held_) return false;
  bool done = false, whole = false;
  if (there_) {
    done = produce_there(whole);
  } else if (routed()) {
    done = hops_.produce() || (route_.gathers && make_small());
    whole = route_.gathers ? folded_ : hops_.folded();
  } else {
    done = small_ ? make_small() : make_placed();
    whole = small_ ? folded_ : stands() == plan_.placed_bytes[self_];
  }
  if (whole && first_told_ && !std::exchange(placed_told_, true)) context.failpoints->hit(Point::kAfterPlaced);
  return done;
}

// --- running ---

std::optional<RunResult> NetPlane::mismatch() const {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const PeerState& p = peers_[i];
    if (i == self_ || !p.ready_seen || p.same) continue;
    RunResult result(RunState::kMismatch);
    result.other = i;
    const auto head = [&](std::size_t bytes) {
      return std::equal(p.ready.begin(), p.ready.begin() + static_cast<std::ptrdiff_t>(bytes), ready_out_.begin());
    };
    result.stale_epoch = head(16) && !head(24);  // all but seen_epoch
    return result;
  }
  if (plan_.told && plan_.takes[self_].bytes != plan_.gives[self_].bytes) {
    RunResult result(RunState::kMismatch);
    result.other = self_;
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
  if (result.accuse) result.others = links_.out_of_reach();
  result.detail = state.why;
  return result;
}

template <class Done>
RunResult NetPlane::pump_until(ExecContext& context, Done done, bool often) {
  Instant asked = now();
  for (int idle = 0, turn = 0;; ++turn) {
    if (context.should_stop()) return RunState::kStopped;
    if (done()) return RunState::kPrepared;
    if (auto result = broken()) return *result;
    if (crowded_ && idle > 0 && idle <= kSpins) ::sched_yield();  // who only spins there keeps peers from running
    const bool moved = links_.pump(idle <= kSpins ? Duration{} : often || (there_ && device_->busy()) ? kNap : kSleep);
    if (first_out_ && !std::exchange(first_told_, true)) context.failpoints->hit(Point::kAfterFirstChunk);
    if (context.should_stop()) return RunState::kStopped;
    const bool made = active_ != 0 && produce(context);
    idle = moved || made ? 0 : idle + 1;
    if (turn % 8 != 7 && idle <= kSpins) continue;  // the clock is not read in every turn
    const Instant at = now();
    if (at >= context.deadline) return done() ? RunState::kPrepared : RunState::kStopped;
    if (idle == 0) asked = at;
    if (at - asked < Duration::from_ms(1)) continue;
    asked = at;
    context.check_peers();
  }
}

RunResult NetPlane::await(ExecContext& context, const std::function<bool()>& done, bool often) { return pump_until(context, done, often); }

RunResult NetPlane::declare(ExecOp& op, ExecContext& context) {
  const RunResult begun = begin(op, context);
  if (begun.state == RunState::kPrepared) held_ = first_told_ = true;  // failpoints are of the host's part
  return begun;
}

std::optional<RunResult> NetPlane::serve() {
  links_.pump({});
  if (auto result = broken()) return result;
  return mismatch();
}

RunResult NetPlane::run(ExecOp& op, ExecContext& context) {
  if (active_ != op.id || op.progress.stage == 0)
    if (RunResult r = begin(op, context); r.state != RunState::kPrepared) return r;
  held_ = false;
  std::optional<RunResult> differs;
  RunResult result = pump_until(context, [&] { return (differs = mismatch()).has_value() || complete(); });
  return differs ? *differs : result;
}

void NetPlane::announce_prepared(OpId op) {
  announce_ = op;
  tell_prepared();
  links_.pump({});
}

RunResult NetPlane::await_commit(OpId op, CommitCounter& counter, ExecContext& context) {
  std::optional<RunResult> ended;
  RunResult result = pump_until(context, [&] {
    for (std::size_t i = 0; i < peers_.size(); ++i)
      if (i != self_) counter.observe(i, observe_digests(peers_[i], counter));
    return counter.committable() >= op || counter.differs() || ((ended = device_broken()) && ended->state != RunState::kNoMemory);
  });
  if (ended && ended->state != RunState::kNoMemory) return *ended;  // peers may still need what the device was to make
  if (result.state != RunState::kPrepared || counter.committable() >= op) return result;
  result.state = RunState::kBroken;
  result.other = self_;
  result.detail = "members have other bits of op " + std::to_string(*counter.differs());
  return result;
}

void NetPlane::copy_out(ExecOp& op) {
  const auto output = std::find_if(outputs_.begin(), outputs_.end(), [&](const Output& o) { return o.op == op.id; });
  RG_CHECK(output != outputs_.end());
  if (output->bytes == 0) return;
  const std::byte* from = output->block.memory.get();
  if (!op.desc.told()) return kernels::copy(op.out, from, output->bytes, store_for(output->bytes));
  for (const algo::Span& take : op.tables->take)  // gaps are not ours
    kernels::copy(static_cast<std::byte*>(op.out) + take.at, from + take.at, take.bytes, store_for(take.bytes));
}

const std::byte* NetPlane::output_of(OpId op) const {
  const auto output = std::find_if(outputs_.begin(), outputs_.end(), [&](const Output& o) { return o.op == op; });
  RG_CHECK(output != outputs_.end());
  return output->block.memory.get();
}

// Its staging goes back when the next op begins: until then peers may still be sent of it (with no commit rule).
void NetPlane::release(OpId op) { released_ = op; }

RunResult NetPlane::exchange(std::span<PairMessage* const> messages, ExecContext& context) {
  bool done = false;
  const RunResult result = pump_until(context, [&] {
    pairs_.sent(context);
    if (context.should_stop()) return false;
    done = pairs_.step(messages, context);
    return done || context.more_posted();
  });
  if (result.state != RunState::kPrepared) return result;
  return done ? RunState::kPrepared : RunState::kStopped;
}

bool NetPlane::pump() {
  if (unsent() == 0 && !links_.unsettled()) return false;
  links_.pump({});
  return unsent() != 0 || links_.unsettled();
}

}  // namespace regroup

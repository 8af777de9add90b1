#include "runtime/exec/net_pairs.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/kernels.h"

namespace regroup {
namespace {

constexpr std::size_t kChunkBytes = 1u << 20;
constexpr std::size_t kStreamBytes = 2u << 20;

}  // namespace

NetPairs::~NetPairs() {
  give([this](NetStaging::Block& block) { staging_.give(std::move(block)); });
}

void NetPairs::give(const std::function<void(NetStaging::Block&)>& back) {
  for (PeerState& p : peers_) {
    for (Receiving& r : p.receiving) {
      if (!r.taken) back(r.block);
      for (NetStaging::Block& block : r.before) back(block);
    }
    p.receiving.clear();
  }
}

void NetPairs::enter(const PairBook& book) {
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    const std::shared_ptr<PairEnd> pair = book.with(incarnations_[i]);
    if (pair && pair->counter.settled() != 0) peers_[i].words.push_back({kSettled, pair->counter.settled()});
  }
}

NetPairs::Receiving* NetPairs::receiving(PeerState& p, std::uint64_t number) {
  for (Receiving& r : p.receiving)
    if (r.number == number) return &r;
  return nullptr;
}

bool NetPairs::step(std::span<PairMessage* const> messages, ExecContext& context) {
  bool done = false;
  for (PairMessage* m : messages) {
    if (context.should_stop()) return false;
    if (m->done) continue;
    const auto at = std::find(incarnations_.begin(), incarnations_.end(), m->pair->inc);
    RG_CHECK(at != incarnations_.end());
    PeerState& p = peers_[static_cast<std::size_t>(at - incarnations_.begin())];
    if (m->send)
      step_send(p, *m, context);
    else
      step_recv(p, *m, context);
    done = done || m->done;
  }
  return done;
}

// --- the sender ---

void NetPairs::step_send(PeerState& p, PairMessage& m, ExecContext&) {
  PairCounter& counter = m.pair->counter;
  const std::uint64_t n = m.number;
  if (const auto want = p.wants.find(n); want != p.wants.end()) {  // once, or anew for another recv
    const What mine{static_cast<std::uint32_t>(m.type), m.count};
    std::erase_if(p.sending, [&](const Sending& s) { return s.number == n; });
    p.words.push_back({kHead, n, mine.type | want->second.asked << kTypeBits, mine.count});
    if (want->second.what == mine && m.bytes() != 0) p.sending.push_back({n, m.in, m.bytes()});
    p.wants.erase(want);
    m.stage = 1;
  }
  counter.observe_prepared(p.prepared_seen);
  if (!counter.can_settle(n)) return;
  if (const auto verdict = p.verdicts.find(n); verdict != p.verdicts.end()) m.verdict = verdict->second;
  p.verdicts.erase(n);
  counter.settle(n);
  p.words.push_back({kSettled, n});
  m.done = true;
}

// --- the receiver ---

// The first in turn may have room whatever the others have.
bool NetPairs::has_room(const PairMessage& m) const {
  const std::size_t bytes = m.bytes();
  return bytes > staging_bytes_ || bytes == 0 || m.number == m.pair->counter.prepared() + 1 ||
         staged_ + bytes <= staging_bytes_;
}

// For a recv that was taken back this number was asked for already.
void NetPairs::ask_anew(PeerState& p, PairMessage& m, Receiving& r) {
  const What what{static_cast<std::uint32_t>(m.type), m.count};
  if (r.what != what) {
    if (!has_room(m)) return;
    const std::size_t bytes = m.bytes();
    NetStaging::Block block = bytes == 0 || bytes > staging_bytes_ ? NetStaging::Block{} : staging_.take(bytes);
    r.no_memory = bytes != 0 && !block.memory;
    staged_ += bytes - r.bytes;
    r.before.push_back(std::exchange(r.block, std::move(block)));
    r.what = what, r.bytes = bytes, r.got = 0, r.head.reset();
    p.words.push_back({kWant, m.number, (r.no_memory ? kNoType : what.type) | ++r.asked << kTypeBits, what.count});
  }
  m.stage = 1;
}

// Asks for the message, or says what has become of it already.
void NetPairs::ask(PeerState& p, PairMessage& m) {
  const std::uint64_t n = m.number;
  PairCounter& counter = m.pair->counter;
  if (!m.prepared) {
    if (n > counter.committed() + kAhead) return;
    if (Receiving* r = receiving(p, n)) return ask_anew(p, m, *r);
    const std::size_t bytes = m.bytes();
    NetStaging::Block block;
    if (has_room(m))
      block = bytes == 0 || bytes > staging_bytes_ ? NetStaging::Block{} : staging_.take(bytes);
    else
      return;
    if (bytes == 0 || block.memory) {
      staged_ += bytes;
      const What what{static_cast<std::uint32_t>(m.type), m.count};
      p.words.push_back({kWant, n, what.type, what.count});
      p.receiving.push_back({n, what, bytes, std::move(block), 0, std::nullopt, 0, {}, false, false});
      m.stage = 1;
      return;
    }
    if (!counter.can_prepare(n)) return;
    m.verdict = Code::kNoMemory;
    m.prepared = true;
    counter.prepare(n);
  }
  p.words.push_back({kPrepared, n, static_cast<std::uint32_t>(m.verdict)});
  m.stage = 2;
}

// The message is here whole, or differs: prepared.
bool NetPairs::take(PeerState& p, PairMessage& m) {
  Receiving* r = receiving(p, m.number);
  RG_CHECK(r != nullptr);
  if (!r->head || !m.pair->counter.can_prepare(m.number)) return false;
  const bool same = *r->head == r->what;
  if (same && !r->no_memory && r->got < r->bytes) return false;
  m.verdict = !same ? Code::kMismatch : r->no_memory ? Code::kNoMemory : Code::kOk;
  m.data = r->block.memory.get();
  m.held = r->block.memory;
  r->taken = true;
  m.prepared = true;
  m.pair->counter.prepare(m.number);
  p.words.push_back({kPrepared, m.number, static_cast<std::uint32_t>(m.verdict)});
  m.stage = 2;
  return true;
}

void NetPairs::step_recv(PeerState& p, PairMessage& m, ExecContext& context) {
  PairCounter& counter = m.pair->counter;
  if (m.stage == 0) ask(p, m);
  if (m.stage == 1 && take(p, m)) {
    context.failpoints->hit(Point::kAfterPrepared);
    if (context.should_stop()) return;
  }
  if (m.stage != 2) return;
  counter.observe_settled(p.settled_seen);
  if (!counter.can_commit(m.number)) return;
  context.failpoints->hit(Point::kBeforeCopyOut);
  if (context.should_stop()) return;
  const std::size_t bytes = m.bytes();
  if (m.verdict == Code::kOk && bytes != 0)
    kernels::copy(m.out, m.data, bytes, bytes >= kStreamBytes ? kernels::Store::kStream : kernels::Store::kCached);
  counter.commit(m.number);
  m.held.reset();
  if (Receiving* r = receiving(p, m.number)) {  // not of what an earlier epoch brought
    staged_ -= r->bytes;
    staging_.give(std::move(r->block));
    for (NetStaging::Block& block : r->before) staging_.give(std::move(block));
    std::erase_if(p.receiving, [&](const Receiving& x) { return x.number == m.number; });
  }
  m.done = true;
}

// --- links ---

tcp::Placement NetPairs::place(std::size_t peer, const wire::Frame& frame) {
  PeerState& p = peers_[peer];
  if (frame.type != kData) {
    const bool known = frame.type <= kSettled && frame.length == 0 && frame.op != 0;
    return {known ? tcp::Take::kInto : tcp::Take::kRefuse, nullptr};
  }
  Receiving* r = receiving(p, frame.op);
  if (r != nullptr && !r->head && r->asked != 0)
    return {tcp::Take::kDiscard, nullptr};  // of an answer that came before
  if (r == nullptr || !r->head || !(*r->head == r->what)) return {};
  if (frame.offset != r->got || frame.length > r->bytes - r->got)
    return {};  // in order and within its bounds, or a breach
  return {tcp::Take::kInto, r->block.memory.get() + r->got};
}

bool NetPairs::arrived(std::size_t peer, const wire::Frame& frame) {
  PeerState& p = peers_[peer];
  switch (frame.type) {
    case kWant:
      if (p.wants.size() >= kMaxWants) return false;
      p.wants[frame.op] = {{frame.chunk & ((1u << kTypeBits) - 1), frame.offset}, frame.chunk >> kTypeBits};
      return true;
    case kHead: {
      Receiving* r = receiving(p, frame.op);
      if (r == nullptr) return false;
      if (frame.chunk >> kTypeBits != r->asked) return true;
      if (r->head) return false;
      r->head = What{frame.chunk & ((1u << kTypeBits) - 1), frame.offset};
      return true;
    }
    case kData:  // of an answer that came before: into memory that is kept for it
      if (Receiving* r = receiving(p, frame.op); r->head) r->got += frame.length;
      return true;
    case kPrepared:
      if (p.verdicts.size() >= kMaxWants) return false;
      if (frame.op > p.prepared_seen) p.verdicts[frame.op] = static_cast<Code>(frame.chunk);
      p.prepared_seen = std::max(p.prepared_seen, frame.op);
      return true;
    case kSettled: p.settled_seen = std::max(p.settled_seen, frame.op); return true;
    default: return false;
  }
}

bool NetPairs::next(std::size_t peer, tcp::Outgoing& out) {
  PeerState& p = peers_[peer];
  out.frame = {};
  if (!p.words.empty()) {
    const Word& word = p.words.front();
    out.frame.type = word.type;
    out.frame.op = word.number;
    out.frame.chunk = word.small;
    out.frame.offset = word.large;
    wire::fill(out.frame, {});
    p.words.pop_front();
    return true;
  }
  if (p.sending.empty()) return false;
  Sending& s = p.sending.front();
  out.frame.type = kData;
  out.frame.op = s.number;
  out.frame.offset = s.at;
  out.frame.chunk = static_cast<std::uint32_t>(s.at / kChunkBytes);
  out.payload = s.from + s.at;
  wire::fill(out.frame, {out.payload, std::min(s.bytes - s.at, kChunkBytes)});
  first_chunk_ = first_chunk_ || s.at == 0;
  s.at += out.frame.length;
  if (s.at == s.bytes) {
    p.sending.pop_front();
    all_sent_ = true;
  }
  return true;
}

void NetPairs::sent(ExecContext& context) {
  if (std::exchange(first_chunk_, false)) context.failpoints->hit(Point::kAfterFirstChunk);
  if (std::exchange(all_sent_, false) && !context.should_stop()) context.failpoints->hit(Point::kAfterPlaced);
}

}  // namespace regroup

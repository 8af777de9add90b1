// Messages: send and recv between two members, each end with the production PairCounter. They go on beside the program
// of collectives, with a random sequence of their own, so that they change nothing of what a seed means for those.
//
// Shared memory: a pair's words and the sender's copies lie where the peer reads them, whatever the epoch, dead or
// alive. Network: what an epoch did not bring to its end is said again in the next.
#include <algorithm>

#include "ft/sim/world.h"

namespace regroup::sim {
namespace {

constexpr Value kGarbage{0xdead'dead'dead'dead, 0xdead'dead'dead'dead};

bool in_view(const Life& life, std::uint32_t peer) {
  return std::find(life.now->lives.begin(), life.now->lives.end(), peer) != life.now->lives.end();
}

}  // namespace

Value World::message(std::uint32_t from, std::uint32_t to, std::uint64_t n) const {
  return {n, mix(from * 0x10001ull + to, n ^ mix(scenario_.seed, 5))};
}

// How many messages every incarnation of replica `from` has for every one of `to`.
std::uint64_t World::messages_of(std::uint32_t from, std::uint32_t to) const {
  return mix(scenario_.seed ^ 0x6d65'7373, from * kMaxMembers + to) % scenario_.members < 3 ? scenario_.messages : 0;
}

void World::message_ended(const Life& life, std::uint32_t peer, std::uint64_t n, What what, bool sends,
                          const Value& got) {
  Record r;
  r.life = life.index, r.replica = life.replica, r.what = what, r.op = n, r.log = life.member.log();
  r.epoch = life.counter.epoch();
  r.peer = peer, r.sends = sends;
  r.value = got;
  if (what == What::kMessageTaken) r.expected = message(peer, life.index, n);
  record(r);
}

void World::wake_messages(Life& life, std::int64_t delay) {
  if (!life.runs() || life.message_due) return;
  life.message_due = true;
  push(delay, Ev::kMessage, life.index);
}

void World::tell_message(Life& from, std::uint32_t to, Frame what, std::uint64_t n, const Value& value) {
  carry({what, from.index, to, link_[{from.index, to}], from.now->epoch, n, value, 0, {}},
        around(scenario_.delay, message_rng_));
}

// A view is installed: pairs that it splits have ended, the others say again what the last epoch may have lost.
void World::enter_messages(Life& life) {
  if (scenario_.messages == 0) return;
  std::erase_if(life.pairs, [&](const auto& p) {
    if (in_view(life, p.first)) return false;
    end_pair(life, p.first, *p.second);
    return true;
  });
  for (std::uint32_t peer : life.now->lives) {
    if (peer == life.index) continue;
    const auto [it, fresh] = life.pairs.try_emplace(peer);
    if (fresh) it->second = std::make_shared<MessagePair>();
    MessagePair& pair = *it->second;
    pair.came.clear();
    const bool gives = messages_of(life.replica, lives_[peer].replica) != 0;
    const bool takes = messages_of(lives_[peer].replica, life.replica) != 0;
    if (fresh && gives) push(around(scenario_.message_think, message_rng_), Ev::kPost, life.index, peer, 1);
    if (fresh && takes) push(around(scenario_.message_think, message_rng_), Ev::kPost, life.index, peer, 0);
    if (life.now->decision.plane == PlaneKind::kShared) continue;
    if (gives && bug_ != DataBug::kSettledOnce) tell_message(life, peer, Frame::kSettled, pair.counter.settled(), {});
    if (takes) tell_message(life, peer, Frame::kHeld, pair.counter.prepared(), {});
    for (const auto& [n, value] : pair.staged) tell_message(life, peer, Frame::kMessage, n, value);
  }
  wake_messages(life, around(scenario_.delay / 8 + 200, message_rng_));
}

// The rule of docs/PROTOCOL.md: what was prepared here may have been settled there.
void World::end_pair(Life& life, std::uint32_t peer, MessagePair& pair) {
  pair.counter.end();
  while (pair.counter.can_commit(pair.counter.committed() + 1) && bug_ != DataBug::kEndDrops) take(life, peer, pair);
  for (std::uint64_t n = pair.counter.committed() + 1; n <= pair.recvs; ++n)
    message_ended(life, peer, n, What::kMessageFailed, false, {});
  for (std::uint64_t n = pair.counter.settled() + 1; n <= pair.sends; ++n)
    message_ended(life, peer, n, What::kMessageFailed, true, {});
  pair.theirs.reset();
}

World::~World() {  // two ends hold each other
  for (Life& life : lives_)
    for (auto& [peer, pair] : life.pairs) pair->theirs.reset();
}

// The user calls send or recv.
void World::post(const Event& e) {
  Life& life = lives_[e.a];
  const auto it = life.pairs.find(e.b);
  const bool sends = e.x != 0;
  const std::uint32_t there = lives_[e.b].replica;
  const std::uint64_t all = sends ? messages_of(life.replica, there) : messages_of(there, life.replica);
  if (it == life.pairs.end() || (sends ? it->second->sends : it->second->recvs) == all) return;
  MessagePair& pair = *it->second;
  std::uint64_t n = 0;
  if (sends) {
    n = pair.sends = pair.counter.post_send();
    pair.staged[n] = message(life.index, e.b, n);
    if (life.now->decision.plane == PlaneKind::kNetwork) tell_message(life, e.b, Frame::kMessage, n, pair.staged[n]);
  } else {
    n = pair.recvs = pair.counter.post_recv();
  }
  if (n < all) push(around(scenario_.message_think, message_rng_) * life.slow, Ev::kPost, e.a, e.b, e.x);
  wake_messages(life, 200);
  if (life.now->decision.plane == PlaneKind::kShared) wake_messages(lives_[e.b], 400);
}

void World::take(Life& life, std::uint32_t peer, MessagePair& pair) {
  const std::uint64_t n = pair.counter.committed() + 1;
  Value got = kGarbage;
  if (life.now->decision.plane == PlaneKind::kNetwork) {
    got = pair.held.at(n);
  } else if (const auto it = pair.theirs->staged.find(n); it != pair.theirs->staged.end()) {
    got = it->second;
  }
  pair.counter.commit(n);
  pair.held.erase(n);
  message_ended(life, peer, n, What::kMessageTaken, false, got);
}

// One thing that this end of a pair can do now; false: nothing.
bool World::pair_step(Life& life, std::uint32_t peer, MessagePair& pair) {
  PairCounter& counter = pair.counter;
  const bool net = life.now->decision.plane == PlaneKind::kNetwork;
  if (const auto it = lives_[peer].pairs.find(life.index); !net && !pair.theirs && it != lives_[peer].pairs.end())
    pair.theirs = it->second;
  const MessagePair* page = pair.theirs.get();
  if (page != nullptr) {
    counter.observe_prepared(page->counter.prepared());
    counter.observe_settled(page->counter.settled());
    std::erase_if(pair.staged, [&](const auto& m) { return m.first <= page->counter.committed(); });
  }
  if (const std::uint64_t n = counter.settled() + 1; counter.can_settle(n)) {
    counter.settle(n);
    if (net || bug_ == DataBug::kMessageReused) pair.staged.erase(n);
    if (net) tell_message(life, peer, Frame::kSettled, n, {});
    message_ended(life, peer, n, What::kMessageSent, true, {});
    return true;
  }
  if (const std::uint64_t n = counter.prepared() + 1; counter.can_prepare(n)) {
    const bool here = net ? pair.came.contains(n) : page != nullptr && page->sends >= n;
    if (here) {
      if (net) pair.held[n] = pair.came.at(n);
      counter.prepare(n);
      if (net) tell_message(life, peer, Frame::kHeld, n, {});
      if (bug_ == DataBug::kTakenEarly) counter.observe_settled(n);
      return true;
    }
  }
  if (!counter.can_commit(counter.committed() + 1)) return false;
  take(life, peer, pair);
  return true;
}

void World::message_step(Life& life) {
  life.message_due = false;
  if (life.now == nullptr || life.counter.frozen()) return;  // the next view wakes it
  for (auto& [peer, pair] : life.pairs) {
    if (!pair_step(life, peer, *pair)) continue;
    if (life.now->decision.plane == PlaneKind::kShared)
      wake_messages(lives_[peer], around(scenario_.delay / 8 + 200, message_rng_) * lives_[peer].slow);
    return wake_messages(life, around(scenario_.delay / 20 + 200, message_rng_) * life.slow);
  }
}

void World::message_came(Life& life, const Data& d) {
  const auto it = life.pairs.find(d.from);
  if (it == life.pairs.end()) return;
  MessagePair& pair = *it->second;
  if (d.what == Frame::kMessage) pair.came[d.op] = d.value;
  if (d.what == Frame::kHeld) pair.counter.observe_prepared(d.op);
  if (d.what == Frame::kSettled) pair.counter.observe_settled(d.op);
  wake_messages(life, 200);
}

// All messages of its pairs were called for and have ended.
bool World::messages_done(const Life& life) const {
  if (life.now == nullptr) return true;
  return std::all_of(life.pairs.begin(), life.pairs.end(), [&](const auto& p) {
    const auto& [peer, pair] = p;
    const std::uint32_t there = lives_[peer].replica;
    return pair->counter.settled() == messages_of(life.replica, there) &&
           pair->counter.committed() == messages_of(there, life.replica);
  });
}

}  // namespace regroup::sim

#include "runtime/exec/shm_pairs.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/fence.h"
#include "kernels/kernels.h"
#include "transport/wire/address.h"

namespace regroup {
namespace {

constexpr std::size_t kChunkBytes = 1u << 20;  // a wedge is looked for between chunks
constexpr std::size_t kStreamBytes = 2u << 20;

kernels::Store store_for(std::size_t bytes) {
  return bytes >= kStreamBytes ? kernels::Store::kStream : kernels::Store::kCached;
}

RunResult broken(std::size_t peer, std::string detail, bool ban_shared) {
  RunResult result(RunState::kBroken);
  result.other = peer;
  result.ban_shared = ban_shared;
  result.detail = std::move(detail);
  return result;
}

void raise(std::atomic<std::uint64_t>& word, std::uint64_t to) {
  if (word.load(std::memory_order_relaxed) < to) word.store(to, std::memory_order_release);
}

}  // namespace

void ShmPairs::reset() {
  ends_.clear();
  if (!directory_) return;
  auto* entries = reinterpret_cast<shm::PairDirectory*>(directory_->memory.data());
  for (std::size_t i = 0; i < world_size_; ++i) entries[i].store(0, std::memory_order_relaxed);
}

void ShmPairs::enter(const View& view, std::size_t self, const PairBook& book) {
  std::erase_if(ends_, [&](const auto& entry) {
    if (view.contains(entry.first)) return false;
    if (entry.second.mine != nullptr)  // its page goes: who comes back must not look for it
      reinterpret_cast<shm::PairDirectory*>(directory_->memory.data())[entry.second.replica].store(0);
    return true;
  });
  for (std::size_t i = 0; i < view.members.size(); ++i) {
    if (i == self) continue;
    End& end = ends_[view.members[i].inc];
    end.index = i;
    end.my_replica = view.members[self].id.replica;
    end.replica = view.members[i].id.replica;
    end.mine_inc = view.members[self].inc;
    end.watched = false;
    if (Result<wire::MemberAddress> address = wire::decode_address(view.members[i].address))
      end.socket = address->segment_socket;
    const std::shared_ptr<PairEnd> pair = book.with(view.members[i].inc);
    if (!pair || (end.mine == nullptr && pair->counter.settled() == 0) || !make_page(end, *pair)) continue;
    raise(end.mine->sender.sent, pair->counter.settled());
    raise(end.mine->sender.settled, pair->counter.settled());
    raise(end.mine->receiver.prepared, pair->counter.committed());
    raise(end.mine->receiver.released, pair->counter.committed());
    ring(end);
  }
}

// My page for this peer, and the peer told where it is.
Status ShmPairs::make_page(End& end, const PairEnd& pair) {
  if (end.mine != nullptr) return {};
  if (!directory_) {
    Result<shm::OwnedPtr> made = domain_.make("pairs", world_size_ * sizeof(shm::PairDirectory));
    if (!made) return made.error();
    directory_ = std::move(*made);
    auto* entries = reinterpret_cast<shm::PairDirectory*>(directory_->memory.data());
    for (std::size_t i = 0; i < world_size_; ++i) new (entries + i) shm::PairDirectory(0);
    domain_.words().pairs.store(directory_->id, std::memory_order_release);
  }
  if (pair.id.replica >= world_size_) return {Code::kRefused, "member " + to_string(pair.id) + " is beyond world_size"};
  Result<shm::OwnedPtr> made = domain_.make("pair", sizeof(shm::PairPage));
  if (!made) return made.error();
  end.segment = std::move(*made);
  end.mine = new (end.segment->memory.data()) shm::PairPage;
  end.mine->owner = end.mine_inc;
  end.mine->peer = pair.inc;
  end.mine->sender.sent.store(pair.counter.settled(), std::memory_order_relaxed);
  end.mine->sender.settled.store(pair.counter.settled(), std::memory_order_relaxed);
  end.mine->receiver.prepared.store(pair.counter.committed(), std::memory_order_relaxed);
  end.mine->receiver.released.store(pair.counter.committed(), std::memory_order_relaxed);
  auto* entries = reinterpret_cast<shm::PairDirectory*>(directory_->memory.data());
  entries[pair.id.replica].store(end.segment->id, std::memory_order_release);
  return {};
}

// The peer's page for me; it may not be there yet.
Status ShmPairs::find_page(End& end, const PairEnd& pair) {
  if (end.theirs != nullptr) return {};
  if (!end.memory) end.memory = domain_.peer(pair.inc, end.socket);
  Result<const shm::Mapping*> words = end.memory->map(shm::kWordsSegment);
  if (!words) return words.error();
  end.words = reinterpret_cast<const shm::WordsPage*>((*words)->data());
  const std::uint32_t where = end.words->pairs.load(std::memory_order_acquire);
  if (where == 0) return {};
  Result<const shm::Mapping*> directory = end.memory->map(where);
  if (!directory) return directory.error();
  if ((*directory)->size() < (end.my_replica + 1) * sizeof(shm::PairDirectory))
    return {Code::kRefused, "its pairs are too few"};
  const auto* entries = reinterpret_cast<const shm::PairDirectory*>((*directory)->data());
  const std::uint32_t id = entries[end.my_replica].load(std::memory_order_acquire);
  if (id == 0) return {};
  Result<const shm::Mapping*> mapped = end.memory->map(id);
  if (!mapped) return mapped.error();
  if ((*mapped)->size() < sizeof(shm::PairPage)) return {Code::kRefused, "its page is too small"};
  const auto* page = reinterpret_cast<const shm::PairPage*>((*mapped)->data());
  if (page->owner == pair.inc && page->peer == end.mine_inc) end.theirs = page;  // else of an incarnation before
  return {};
}

Status ShmPairs::open(End& end, const PairEnd& pair) {
  if (Status s = make_page(end, pair); !s) return s;
  return find_page(end, pair);
}

void ShmPairs::ring(End& end) {
  end.mine->bell.fetch_add(1, std::memory_order_release);
  full_fence();
  if (end.words != nullptr && end.words->sleep.sleeping.load(std::memory_order_relaxed) != 0)
    shm::wake_all(end.mine->bell);
}

// Memory that the peer has let go of is for the next message.
void ShmPairs::collect(End& end) {
  if (end.theirs == nullptr) return;
  const std::uint64_t released = end.theirs->receiver.released.load(std::memory_order_acquire);
  std::erase_if(end.placed, [&](Placed& p) {
    if (p.number > released) return false;
    end.free.push_back(std::move(p.memory));
    return true;
  });
}

std::size_t ShmPairs::placed_bytes() const {
  std::size_t sum = 0;
  for (const auto& [inc, end] : ends_)
    for (const Placed& p : end.placed) sum += p.memory->memory.size();
  return sum;
}

// --- sending ---

RunResult ShmPairs::place(End& end, PairMessage& m, ExecContext& context, bool& whole) {
  const std::size_t bytes = m.bytes();
  shm::PairSlot& slot = end.mine->slots[m.number % shm::kPairSlots];
  shm::PairSlot fresh{m.count, 0, static_cast<std::uint32_t>(m.type), 0, 0};
  whole = false;
  if (bytes <= shm::kPairInlineBytes) {
    if (bytes != 0) std::memcpy(end.mine->inlined[m.number % shm::kPairSlots], m.in, bytes);
  } else if (bytes > staging_bytes_) {
    fresh.verdict = static_cast<std::uint32_t>(Code::kNoMemory);
  } else {
    if (end.placing.number != m.number) {
      if (!end.placed.empty() && placed_bytes() + bytes > staging_bytes_) return RunState::kPrepared;  // later
      auto best = end.free.end();
      for (auto it = end.free.begin(); it != end.free.end(); ++it)
        if ((*it)->memory.size() >= bytes && (best == end.free.end() || (*it)->memory.size() < (*best)->memory.size()))
          best = it;
      if (best != end.free.end()) {
        end.placing = {m.number, std::move(*best)};
        end.free.erase(best);
      } else if (Result<shm::OwnedPtr> made = domain_.make("message", bytes)) {
        end.placing = {m.number, std::move(*made)};
      } else {
        end.placing = {m.number, nullptr};
      }
      end.placing_at = 0;
    }
    if (!end.placing.memory) {
      fresh.verdict = static_cast<std::uint32_t>(Code::kNoMemory);
    } else {
      for (std::size_t& at = end.placing_at; at < bytes;) {
        const std::size_t part = std::min(bytes - at, kChunkBytes);
        kernels::copy(end.placing.memory->memory.data() + at, m.in + at, part, store_for(bytes));
        if (at == 0) context.failpoints->hit(Point::kAfterFirstChunk);
        at += part;
        if (context.should_stop()) return RunState::kStopped;
      }
      stream_fence();
      fresh.segment = end.placing.memory->id;
      end.placed.push_back(std::move(end.placing));
    }
    end.placing = {};
  }
  slot = fresh;
  end.mine->sender.sent.store(m.number, std::memory_order_release);
  ring(end);
  whole = true;
  context.failpoints->hit(Point::kAfterPlaced);
  return context.should_stop() ? RunState::kStopped : RunState::kPrepared;
}

RunResult ShmPairs::step_send(End& end, PairMessage& m, ExecContext& context) {
  PairCounter& counter = m.pair->counter;
  const std::uint64_t sent = end.mine->sender.sent.load(std::memory_order_relaxed), n = m.number;
  if (n > sent) {
    const std::uint64_t released =
        end.theirs ? end.theirs->receiver.released.load(std::memory_order_acquire) : counter.settled();
    if (n != sent + 1 || n > released + shm::kPairSlots) return RunState::kPrepared;
    bool whole = false;
    if (RunResult r = place(end, m, context, whole); r.state != RunState::kPrepared || !whole) return r;
  }
  if (end.theirs == nullptr) return RunState::kPrepared;
  counter.observe_prepared(end.theirs->receiver.prepared.load(std::memory_order_acquire));
  if (!counter.can_settle(n)) return RunState::kPrepared;
  m.verdict = static_cast<Code>(end.theirs->receiver.verdict[n % shm::kPairSlots]);
  counter.settle(n);
  raise(end.mine->sender.settled, n);
  ring(end);
  m.done = true;
  return RunState::kPrepared;
}

// --- receiving ---

// The peer's message n stands: what is it?
RunResult ShmPairs::prepare(End& end, PairMessage& m) {
  const shm::PairSlot slot = end.theirs->slots[m.number % shm::kPairSlots];
  m.verdict = static_cast<Code>(slot.verdict);
  if (slot.count != m.count || slot.type != static_cast<std::uint32_t>(m.type)) m.verdict = Code::kMismatch;
  if (m.verdict == Code::kOk && slot.segment == 0) {
    if (m.bytes() > shm::kPairInlineBytes) return broken(end.index, "a message that stands nowhere", false);
    m.data = end.theirs->inlined[m.number % shm::kPairSlots];
  } else if (m.verdict == Code::kOk) {
    Result<const shm::Mapping*> mapping = end.memory->map(slot.segment);
    if (!mapping) return broken(end.index, mapping.error().detail, true);
    if (slot.offset > (*mapping)->size() || m.bytes() > (*mapping)->size() - slot.offset)
      return broken(end.index, "a message that lies outside its segment", false);
    m.data = (*mapping)->data() + slot.offset;
  }
  m.held = end.memory;
  m.prepared = true;
  m.pair->counter.prepare(m.number);
  return RunState::kPrepared;
}

RunResult ShmPairs::step_recv(End& end, PairMessage& m, ExecContext& context) {
  PairCounter& counter = m.pair->counter;
  const std::uint64_t n = m.number;
  if (!m.prepared) {
    if (end.theirs == nullptr || end.theirs->sender.sent.load(std::memory_order_acquire) < n || !counter.can_prepare(n))
      return RunState::kPrepared;
    if (RunResult r = prepare(end, m); r.state != RunState::kPrepared) return r;
  }
  if (end.mine->receiver.prepared.load(std::memory_order_relaxed) < n) {  // also what another plane had brought
    end.mine->receiver.verdict[n % shm::kPairSlots] = static_cast<std::uint32_t>(m.verdict);
    end.mine->receiver.prepared.store(n, std::memory_order_release);
    ring(end);
    context.failpoints->hit(Point::kAfterPrepared);
    if (context.should_stop()) return RunState::kStopped;
  }
  if (end.theirs == nullptr) return RunState::kPrepared;
  counter.observe_settled(end.theirs->sender.settled.load(std::memory_order_acquire));
  if (!counter.can_commit(n)) return RunState::kPrepared;
  context.failpoints->hit(Point::kBeforeCopyOut);
  if (context.should_stop()) return RunState::kStopped;
  if (m.verdict == Code::kOk && m.bytes() != 0) kernels::copy(m.out, m.data, m.bytes(), store_for(m.bytes()));
  counter.commit(n);
  end.mine->receiver.released.store(n, std::memory_order_release);
  ring(end);
  m.done = true;
  return RunState::kPrepared;
}

// --- all at once ---

RunResult ShmPairs::exchange(std::span<PairMessage* const> messages, ExecContext& context, shm::Waiter& waiter) {
  for (;;) {
    for (auto& [inc, end] : ends_) end.watched = false;
    bool done = false;
    for (PairMessage* m : messages) {
      const auto found = ends_.find(m->pair->inc);
      if (found == ends_.end()) return broken(0, "no such member", false);
      End& end = found->second;
      if (!std::exchange(end.watched, true)) {
        if (Status s = open(end, *m->pair); !s) return broken(end.index, s.error().detail, true);
        if (end.theirs != nullptr)
          end.bell_seen = end.theirs->bell.load(std::memory_order_acquire);  // before the words
        collect(end);
      }
      RunResult r = m->send ? step_send(end, *m, context) : step_recv(end, *m, context);
      if (r.state != RunState::kPrepared) return r;
      done = done || m->done;
    }
    if (done) return RunState::kPrepared;
    if (!wait(context, waiter)) return RunState::kStopped;
  }
}

// Until a peer's page may say something new. False: stop, deadline, or a message was posted.
bool ShmPairs::wait(ExecContext& context, shm::Waiter& waiter) {
  watches_.clear();
  bool poll = false;
  for (auto& [inc, end] : ends_) {
    if (!end.watched) continue;
    if (end.theirs != nullptr) watches_.push_back({&end.theirs->bell, end.bell_seen});
    poll = poll || end.theirs == nullptr;
  }
  Duration looked{};
  return waiter.wait_any(watches_, poll, [&](Duration waited) {
    if (context.should_stop() || context.more_posted()) return true;
    if (waited.ns == 0) return false;
    if (waited - looked > Duration::from_us(500)) {
      looked = waited;
      context.check_peers();
    }
    return !context.deadline.is_never() && now() >= context.deadline;
  });
}

}  // namespace regroup

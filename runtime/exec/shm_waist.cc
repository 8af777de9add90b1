// Large ops of ShmPlane: place in scratch, commit at the waist, copy out (DATA_PATH.md).
#include <algorithm>
#include <cstring>

#include "kernels/kernels.h"
#include "runtime/exec/shm_common.h"

namespace regroup {

using namespace shm_detail;  // NOLINT: a room of its own

namespace {

constexpr std::size_t kChunkBytes = 256 << 10;  // a wedge is looked for between chunks
constexpr std::size_t kManySpares = 8u << 20;   // larger scratch has one spare where one is in use
// From here on non-temporal stores (docs/PLANS.md): of what peers read, and of outputs.
constexpr std::size_t kStreamNear = 8u << 20, kStreamFar = 64u << 10, kStreamOutput = 4u << 20;

kernels::Store output_store(std::size_t bytes) {
  return bytes >= kStreamOutput ? kernels::Store::kStream : kernels::Store::kCached;
}

// A copy between buffers of the caller, which may be the same or overlap.
void move(std::byte* to, const void* from, std::size_t bytes, kernels::Store store) {
  const auto a = reinterpret_cast<std::uintptr_t>(to), b = reinterpret_cast<std::uintptr_t>(from);
  if (a == b) return;
  if (a < b + bytes && b < a + bytes)
    std::memmove(to, from, bytes);
  else
    kernels::copy(to, from, bytes, store);
}

}  // namespace

// Of what peers will read: lines in my cache reach them fast only where they share it.
kernels::Store ShmPlane::placed_store(std::size_t bytes) const {
  return bytes >= (exchange_.near() ? kStreamNear : kStreamFar) ? kernels::Store::kStream : kernels::Store::kCached;
}

std::size_t ShmPlane::table_bytes(const Active& a) const {
  return a.plan.told ? (peers_.size() * sizeof(algo::Span) + 63) / 64 * 64 : 0;
}

// A block of my input that I give myself goes from there to my output at commit (my input is preserved until then), and
// is not placed unless somebody else takes it.
void ShmPlane::find_own(Active& a, const ExecOp& op) const {
  const algo::Span mine = a.plan.gives[self_];
  a.own = nullptr;
  a.skipped = {};
  if (mine.bytes == 0) return;
  for (const algo::Piece& p : a.plan.place)
    if (!p.fold && p.from == self_ && mine.at >= p.to && mine.at + mine.bytes <= p.to + p.bytes)
      a.own = static_cast<const std::byte*>(op.in) + p.at + (mine.at - p.to);
  const auto taken = [&](std::size_t j) {
    const algo::Span& give = a.plan.gives[j];
    return j != self_ && give.at < mine.at + mine.bytes && mine.at < give.at + give.bytes;
  };
  bool alone = a.own != nullptr;
  for (std::size_t j = 0; alone && j < peers_.size(); ++j) alone = !taken(j);
  if (alone) a.skipped = mine;
}

RunResult ShmPlane::run_large(Active& a, ExecOp& op, ExecContext& context) {
  op.plan = "waist";
  if (op.progress.stage <= kStaging) {
    if (RunResult r = stage_input(a, op, context); r.state != RunState::kPrepared) return r;
    if (!place_at_caller(a, op))
      if (RunResult r = take_slot(a, op, context); r.state != RunState::kPrepared) return r;
    publish_line(op, &a.place, sizeof a.place);
    op.progress.stage = kPublished;
    op.progress.at = 0;
  }
  if (op.progress.stage == kPublished) {
    if (RunResult r = meet_peers(a, op, context); r.state != RunState::kPrepared) return r;
    op.progress.stage = kReducing;
  }
  if (op.progress.stage == kReducing) {
    if (RunResult r = produce(a, op, context); r.state != RunState::kPrepared) return r;
    if (auto peer = withdrawn_peer()) return broken(*peer, "withdrawn", false);
    raise(domain_.words().words.placed, op.id);
    op.progress.stage = kPlaced;
    context.failpoints->hit(Point::kAfterPlaced);
    if (context.should_stop()) return RunState::kStopped;
  }
  if (!wait_all(
          op.id, [](const shm::WordsPage& p) -> auto& { return p.words.placed; }, context))
    return RunState::kStopped;
  if (a.early) {
    if (op.progress.stage == kPlaced) {
      op.progress.stage = kPulling;
      op.progress.at = 0;
    }
    if (RunResult r = pull(a, op, context); r.state != RunState::kPrepared) return r;
    if (auto peer = withdrawn_peer()) return broken(*peer, "withdrawn", false);
  }
  op.progress.stage = kDone;
  return RunState::kPrepared;
}

// With the output given as scratch peers are done with what I place before I may commit: it may stand in the caller's
// memory, a fold in the output, blocks of the input where they are.
bool ShmPlane::place_at_caller(Active& a, const ExecOp& op) {
  a.kept = false;
  if (!a.early || a.plan.told || a.plan.place.size() != 1) return false;
  const algo::Piece& piece = a.plan.place.front();
  const algo::Take& mine = a.plan.takes[self_];
  if (piece.bytes == 0 || (piece.fold ? mine.at != 0 || mine.bytes != piece.bytes : piece.from != self_)) return false;
  const std::byte* at =
      piece.fold ? static_cast<const std::byte*>(op.out) + mine.to : static_cast<const std::byte*>(op.in) + piece.at;
  const auto location = domain_.find(at, piece.bytes);
  if (!location) return false;
  a.place.scratch_segment = location->segment;
  a.place.scratch_offset = location->offset;
  a.place.scratch_kept = 1;
  a.scratch[self_] = at;
  a.kept = lent_ = true;
  return true;
}

// Scratch whose last op everybody has released, or new scratch of this epoch.
RunResult ShmPlane::take_slot(Active& a, ExecOp& op, ExecContext& context) {
  const std::size_t bytes = std::max<std::size_t>(table_bytes(a) + a.plan.placed_bytes[self_], 64);
  const auto taken = [&](Slot& slot) {
    slot.op = op.id;
    a.place.scratch_segment = slot.memory->id;
    a.place.scratch_offset = 0;
    a.place.scratch_kept = 0;
    a.scratch[self_] = slot.memory->memory.data();
    if (a.plan.told) std::memcpy(slot.memory->memory.data(), a.plan.gives.data(), peers_.size() * sizeof(algo::Span));
    return RunResult(RunState::kPrepared);
  };
  for (Slot& slot : slots_) {
    if (slot.memory->memory.size() < bytes) continue;
    const shm::Tag tag = shm::make_tag(epoch_, slot.op);
    const bool free = std::all_of(peers_.begin(), peers_.end(), [&](const PeerState& peer) {
      return shm::reached(peer.page->words.released.load(std::memory_order_acquire), tag);
    });
    if (free) return taken(slot);
  }
  // What is over here is soon over at the others, who need nothing of me for it, and I need their part in this op anyway:
  // one slot is enough where ops follow one another, and it stays in the cache.
  for (Slot& slot : slots_) {
    if (slot.memory->memory.size() < bytes || slot.op > released_) continue;
    if (!wait_all(
            slot.op, [](const shm::WordsPage& p) -> auto& { return p.words.released; }, context))
      return RunState::kStopped;
    return taken(slot);
  }
  if (slots_.size() >= most_slots_) {  // all in use or too small: wait for the oldest
    auto oldest = std::min_element(slots_.begin(), slots_.end(), [](auto& x, auto& y) { return x.op < y.op; });
    if (!wait_all(
            oldest->op, [](const shm::WordsPage& p) -> auto& { return p.words.released; }, context))
      return RunState::kStopped;
    slots_.erase(oldest);
  }
  Result<shm::OwnedPtr> made = domain_.take_scratch(bytes);
  if (!made) return broken(self_, made.error().detail, false);
  slots_.push_back({std::move(*made), 0});
  // Spares are for the next epoch, which most often has one member less, so larger shards.
  const std::size_t n = peers_.size(), heirs = std::max<std::size_t>(n - 1, 1);
  const std::size_t shard = op.desc.reduces() ? bytes * n / heirs + 64 * 64 : bytes;
  spare_bytes_ = std::max(spare_bytes_, std::max(shard, bytes));
  spare_count_ = std::max<std::size_t>(slots_.size(), bytes < kManySpares ? 2 : 1);
  spares_due_ = true;
  return taken(slots_.back());
}

// Makes the input readable by peers, if the plan has them read it: where it lies if registered, else one copy into
// staging.
RunResult ShmPlane::stage_input(Active& a, ExecOp& op, ExecContext& context) {
  const std::size_t bytes = a.plan.input_bytes;
  op.progress.stage = kStaging;
  a.inputs[self_] = op.in;
  if (!a.plan.reads_inputs || bytes == 0) return RunState::kPrepared;  // what peers read is placed in scratch
  if (peers_.size() == 1 && !op.desc.scaled()) return RunState::kPrepared;
  if (auto location = op.desc.scaled() ? std::nullopt : domain_.find(op.in, bytes)) {
    a.place.input_segment = location->segment;
    a.place.input_offset = location->offset;
    return RunState::kPrepared;
  }
  if (!staging_.memory || staging_.memory->memory.size() < bytes) {
    Result<shm::OwnedPtr> made = domain_.make("staging", bytes);
    if (!made) return broken(self_, made.error().detail, false);
    staging_.memory = std::move(*made);
    staging_.holds = 0;
  }
  std::byte* to = staging_.memory->memory.data();
  for (std::size_t& at = op.progress.at; at < bytes && staging_.holds != op.id;) {
    const std::size_t part = std::min(bytes - at, 4 * kChunkBytes);
    const std::byte* from = static_cast<const std::byte*>(op.in) + at;
    if (op.desc.scaled())
      kernels::scale(op.desc.type, to + at, from, op.scalar.data(), part / size_of(op.desc.type));
    else
      kernels::copy(to + at, from, part, placed_store(bytes));
    at += part;
    if (context.should_stop()) return RunState::kStopped;
  }
  staging_.holds = op.id;
  a.place.input_segment = staging_.memory->id;
  a.place.input_offset = 0;
  a.inputs[self_] = to;
  return RunState::kPrepared;
}

Result<const std::byte*> ShmPlane::map(std::size_t peer, std::uint32_t segment, std::uint64_t offset,
                                       std::size_t bytes) {
  PeerState& p = peers_[peer];
  auto it = std::find_if(p.cache.begin(), p.cache.end(), [&](auto& c) { return c.first == segment; });
  if (it == p.cache.end()) {
    Result<const shm::Mapping*> mapping = p.memory->map(segment);
    if (!mapping) return mapping.error();
    p.cache.emplace_back(segment, *mapping);
    it = std::prev(p.cache.end());
  }
  const std::size_t size = it->second->size();
  if (offset > size || bytes > size - offset) return {Code::kRefused, "place lies outside its segment"};
  return it->second->data() + offset;
}

RunResult ShmPlane::meet_peers(Active& a, ExecOp& op, ExecContext& context) {
  const shm::Tag tag = shm::make_tag(epoch_, op.id);
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (i == self_) {
      if (a.plan.takes[i].bytes != a.plan.gives[i].bytes) return differ(i);  // told: what I give myself
      a.plan.takes[i].at = a.plan.gives[i].at;
      continue;
    }
    const shm::OpLine& line = peers_[i].page->line(op.id);
    if (!wait_word(line.ready, true, tag, context, &exchange_)) return RunState::kStopped;
    if (!same_desc(line.desc, op.desc)) return mismatch(i, line.desc, op.desc);
    if (RunResult r = meet(a, op, i); r.state != RunState::kPrepared) return r;
  }
  return RunState::kPrepared;
}

// Maps what I shall read of peer i, and compares what it gives with what I expect.
RunResult ShmPlane::meet(Active& a, const ExecOp& op, std::size_t i) {
  shm::Place place;
  std::memcpy(&place, peers_[i].page->line(op.id).body, sizeof place);
  const auto reads = [&](const algo::Piece& p) { return p.bytes != 0 && (p.fold || p.from == i); };
  if (std::any_of(a.plan.place.begin(), a.plan.place.end(), reads)) {
    Result<const std::byte*> input = map(i, place.input_segment, place.input_offset, a.plan.largest_bytes);
    if (!input) return broken(i, input.error().detail, true);
    a.inputs[i] = *input;
  }
  algo::Take& take = a.plan.takes[i];
  const std::size_t head = table_bytes(a);
  if (a.plan.told) {
    Result<const std::byte*> table = map(i, place.scratch_segment, place.scratch_offset, head);
    if (!table) return broken(i, table.error().detail, true);
    algo::Span given;
    std::memcpy(&given, *table + self_ * sizeof given, sizeof given);
    if (given.bytes != take.bytes) return differ(i);
    if (given.at > (std::size_t{1} << 48)) return broken(i, "a table that cannot be", false);
    take.at = given.at;
  }
  if (take.bytes == 0) return RunState::kPrepared;
  Result<const std::byte*> scratch = map(i, place.scratch_segment, place.scratch_offset, head + take.at + take.bytes);
  if (!scratch) return broken(i, scratch.error().detail, true);
  a.scratch[i] = *scratch;
  auto& seen = peers_[i].scratch_seen;
  if (place.scratch_kept == 0 && std::find(seen.begin(), seen.end(), place.scratch_segment) == seen.end())
    seen.push_back(place.scratch_segment);
  return RunState::kPrepared;
}

RunResult ShmPlane::produce(Active& a, ExecOp& op, ExecContext& context) {
  const kernels::Store store = placed_store(a.plan.told ? a.plan.placed_bytes[self_] : a.plan.largest_bytes);
  auto* to = const_cast<std::byte*>(a.scratch[self_]) + table_bytes(a);
  std::size_t& at = op.progress.at;
  const bool stands = a.kept && !a.plan.place.front().fold;  // blocks of my input, read where they are
  const algo::Span skip = stands ? algo::Span{0, a.plan.placed_bytes[self_]} : a.skipped;
  const std::size_t first = skip.at == 0 ? skip.bytes : 0;
  if (a.plan.placed_bytes[self_] == first) context.failpoints->hit(Point::kAfterFirstChunk);
  for (const algo::Piece& piece : a.plan.place) {
    while (at < piece.to + piece.bytes) {
      if (at >= skip.at && at < skip.at + skip.bytes) {
        at = std::min(skip.at + skip.bytes, piece.to + piece.bytes);
        continue;
      }
      const std::size_t done = at - piece.to,
                        end = at < skip.at ? std::min(skip.at - piece.to, piece.bytes) : piece.bytes;
      const std::size_t part = std::min(end - done, kChunkBytes);
      if (piece.fold) {
        for (std::size_t i = 0; i < sources_.size(); ++i)
          sources_[i] = static_cast<const std::byte*>(a.inputs[i]) + piece.at + done;
        kernels::reduce(op.desc.type, op.desc.reduce, to + at, sources_, part / size_of(op.desc.type), store);
      } else {
        kernels::copy(to + at, static_cast<const std::byte*>(a.inputs[piece.from]) + piece.at + done, part, store);
      }
      if (at == first) context.failpoints->hit(Point::kAfterFirstChunk);
      at += part;
      if (context.should_stop()) return RunState::kStopped;
    }
  }
  return context.should_stop() ? RunState::kStopped : RunState::kPrepared;
}

// Where what I take of member i stands; nullptr: in my output already.
const void* ShmPlane::source_of(const Active& a, std::size_t i) const {
  if (i == self_ && a.own != nullptr) return a.own;
  if (i == self_ && a.kept) return nullptr;
  return a.scratch[i] + table_bytes(a) + a.plan.takes[i].at;
}

// The whole output, before the commit.
RunResult ShmPlane::pull(Active& a, ExecOp& op, ExecContext& context) {
  const std::size_t n = peers_.size();
  auto* out = static_cast<std::byte*>(op.out);
  std::size_t& at = op.progress.at;
  for (std::size_t step = 0, begin = 0; step < n; ++step) {
    const std::size_t i = (self_ + step) % n;
    const algo::Take& take = a.plan.takes[i];
    const auto* from = take.bytes == 0 ? nullptr : static_cast<const std::byte*>(source_of(a, i));
    if (from == nullptr) continue;
    while (at < begin + take.bytes) {
      const std::size_t done = at - begin, part = std::min(take.bytes - done, 4 * kChunkBytes);
      kernels::copy(out + take.to + done, from + done, part, output_store(std::max(a.plan.output_bytes, op.call_bytes)));
      at += part;
      if (context.should_stop()) return RunState::kStopped;
    }
    begin += take.bytes;
  }
  return RunState::kPrepared;
}

void ShmPlane::copy_out(ExecOp& op) {
  const Active& a = active(op.id);
  RG_CHECK(a.id == op.id && op.progress.stage == kDone);
  const std::size_t n = peers_.size(), whole = a.plan.output_bytes;
  if (a.small) {
    if (whole != 0) std::memcpy(op.out, a.result.data(), whole);
    return;
  }
  if (a.early) return;  // it stands there
  auto* out = static_cast<std::byte*>(op.out);
  for (std::size_t step = 0; step < n; ++step) {  // my own block first: in place, the others' may fall on it
    const std::size_t i = (self_ + step) % n;
    const algo::Take& take = a.plan.takes[i];
    if (take.bytes != 0) move(out + take.to, source_of(a, i), take.bytes, output_store(std::max(whole, op.call_bytes)));
  }
}

}  // namespace regroup

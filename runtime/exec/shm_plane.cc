#include "runtime/exec/shm_plane.h"

#include <sched.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/kernels.h"
#include "transport/wire/address.h"

namespace regroup {
namespace {

constexpr std::size_t kChunkBytes = 256 << 10;   // a wedge is looked for between chunks
constexpr std::size_t kStreamBytes = 2u << 20;   // from here on non-temporal stores (DATA_PATH.md)

std::size_t usable_cores() {
  cpu_set_t set;
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<std::size_t>(CPU_COUNT(&set)) : 1;
}

kernels::Store store_for(std::size_t op_bytes) {
  return op_bytes >= kStreamBytes ? kernels::Store::kStream : kernels::Store::kCached;
}

void put_desc(std::byte* at, const OpDesc& d) {
  const std::uint8_t head[4] = {static_cast<std::uint8_t>(d.kind), static_cast<std::uint8_t>(d.type),
                                static_cast<std::uint8_t>(d.reduce), d.flags};
  std::memcpy(at, head, 4);
  std::memcpy(at + 4, &d.root, 4);
  std::memcpy(at + 8, &d.count, 8);
  std::memcpy(at + 16, &d.seen_epoch, 8);
}

bool same_desc(const std::byte* at, const OpDesc& d) {
  std::byte mine[24];
  put_desc(mine, d);
  return std::memcmp(at, mine, sizeof mine) == 0;
}

RunResult mismatch(std::size_t peer, const std::byte* theirs, OpDesc mine) {
  RunResult result;
  result.state = RunState::kMismatch;
  result.other = peer;
  std::memcpy(&mine.seen_epoch, theirs + 16, 8);
  result.stale_epoch = same_desc(theirs, mine);
  return result;
}

// What the peer gives and what I take of it differ in size.
RunResult differ(std::size_t peer) {
  RunResult result(RunState::kMismatch);
  result.other = peer;
  return result;
}

RunResult broken(std::size_t peer, std::string detail, bool ban_shared) {
  RunResult result;
  result.state = RunState::kBroken;
  result.other = peer;
  result.ban_shared = ban_shared;
  result.detail = std::move(detail);
  return result;
}

}  // namespace

Result<std::unique_ptr<ShmPlane>> ShmPlane::open(shm::Domain& domain, ShmStaging& staging, ShmPairs& pairs,
                                                 const View& view, std::size_t self, std::size_t& bad_peer) {
  const std::size_t n = view.members.size();
  domain.calm();  // what an epoch without a commit left
  std::vector<Incarnation> peers;
  for (const MemberInfo& m : view.members) peers.push_back(m.inc);
  domain.keep_peers(peers);
  std::unique_ptr<ShmPlane> plane(new ShmPlane(domain, staging, pairs, view, self));
  for (std::size_t i = 0; i < n; ++i) {
    PeerState& peer = plane->peers_[i];
    if (i == self) {
      peer.page = &domain.words();
      continue;
    }
    bad_peer = i;
    Result<wire::MemberAddress> address = wire::decode_address(view.members[i].address);
    if (!address) return address.error();
    peer.memory = domain.peer(view.members[i].inc, address->segment_socket);
    Result<const shm::Mapping*> words = peer.memory->map(shm::kWordsSegment);
    if (!words) return words.error();
    peer.page = reinterpret_cast<const shm::WordsPage*>((*words)->data());
    const shm::WordsPage& own = domain.words();
    if ((*words)->size() < shm::WordsPage::bytes(own.window, own.small_bytes) || peer.page->window != own.window ||
        peer.page->small_bytes != own.small_bytes || peer.page->owner != view.members[i].inc)
      return {Code::kRefused, "words page of member " + to_string(view.members[i].id) + " is not the expected one"};
  }
  return plane;
}

ShmPlane::ShmPlane(shm::Domain& domain, ShmStaging& staging, ShmPairs& pairs, const View& view, std::size_t self)
    : domain_(domain),
      staging_(staging),
      pairs_(pairs),
      view_(view),
      epoch_(view.epoch),
      self_(self),
      peers_(view.members.size()),
      waiter_(domain.words().sleep, view.members.size() > usable_cores()),
      ring_(domain.words().window),
      sources_(view.members.size()) {}

ShmPlane::~ShmPlane() {
  // Scratch of an ended epoch is never used again: ours is freed, the peers' unmapped, on the memory thread. A peer that is
  // gone goes with the last plane that knows it.
  for (PeerState& peer : peers_)
    if (peer.memory)
      domain_.defer_until_calm([memory = std::move(peer.memory), seen = std::move(peer.scratch_seen)] {
        for (std::uint32_t id : seen) memory->forget(id);
      });
  if (!slots_.empty()) domain_.defer_until_calm([slots = std::make_shared<std::vector<Slot>>(std::move(slots_))] {});
}

void ShmPlane::begin(Active& a, const ExecOp& op) {
  const std::size_t n = peers_.size();
  a.id = op.id;
  if (a.planned && a.desc == op.desc && a.root == op.root_index && a.tables == op.tables) return;
  a.planned = true;
  a.desc = op.desc;
  a.root = op.root_index;
  a.tables = op.tables;
  algo::make_plan({op.desc, n, self_, op.root_index, op.tables.get()}, a.plan);
  a.small = a.plan.largest_bytes <= domain_.words().small_bytes;
  a.inputs.assign(n, nullptr);
  a.scratch.assign(n, nullptr);
  if (a.small && a.result.size() < a.plan.output_bytes) a.result.resize(std::max<std::size_t>(a.plan.output_bytes, 4096));
}

RunResult ShmPlane::run(ExecOp& op, ExecContext& context) {
  Active& a = active(op.id);
  if (a.id != op.id || op.progress.stage == kStart) {
    op.progress = {};
    begin(a, op);
  }
  if (op.progress.stage == kDone) return RunState::kPrepared;
  return a.small ? run_small(a, op, context) : run_large(a, op, context);
}

// --- waiting and raising ---

void ShmPlane::raise(std::atomic<shm::Tag>& word, OpId op) {
  word.store(shm::make_tag(epoch_, op), std::memory_order_release);
  full_fence();
  for (std::size_t i = 0; i < peers_.size(); ++i)
    if (i != self_ && peers_[i].page->sleep.sleeping.load(std::memory_order_relaxed) != 0) return shm::wake_all(word);
}

bool ShmPlane::wait_word(const std::atomic<shm::Tag>& word, bool exact, shm::Tag tag, ExecContext& context) {
  Duration looked{};
  return waiter_.wait(
      word, [&](shm::Tag seen) { return exact ? seen == tag : shm::reached(seen, tag); },
      [&](Duration waited) {
        if (context.should_stop()) return true;
        if (waited.ns == 0) return false;
        if (waited - looked > Duration::from_us(500)) {
          looked = waited;
          context.check_peers();
        }
        return !context.deadline.is_never() && now() >= context.deadline;
      });
}

template <class WordOf>
bool ShmPlane::wait_all(OpId op, WordOf word_of, ExecContext& context) {
  const shm::Tag tag = shm::make_tag(epoch_, op);
  for (std::size_t i = 0; i < peers_.size(); ++i)
    if (i != self_ && !wait_word(word_of(*peers_[i].page), false, tag, context)) return false;
  return true;
}

std::optional<std::size_t> ShmPlane::withdrawn_peer() const {
  read_fence();  // the reads of inputs come before this look
  for (std::size_t i = 0; i < peers_.size(); ++i)
    if (i != self_ && peers_[i].page->words.withdrawn.load(std::memory_order_acquire) != 0) return i;
  return std::nullopt;
}

void ShmPlane::publish_line(const ExecOp& op, const void* body, std::size_t bytes) {
  shm::OpLine& line = domain_.words().line(op.id);
  put_desc(line.desc, op.desc);
  if (bytes != 0) std::memcpy(line.body, body, bytes);
  raise(line.ready, op.id);
}

// --- small ops ---

// My input beside the flag, or in the block of this op.
void ShmPlane::publish_small(const Active& a, const ExecOp& op) {
  const std::size_t bytes = a.plan.input_bytes;
  const bool inlined = a.plan.largest_bytes <= shm::kInlineBytes;
  std::byte line[shm::kInlineBytes];
  std::byte* to = inlined ? line : domain_.words().block(op.id);
  if (bytes != 0 && op.desc.scaled())
    kernels::scale(op.desc.type, to, op.in, op.scalar.data(), bytes / size_of(op.desc.type));
  else if (bytes != 0)
    std::memcpy(to, op.in, bytes);
  publish_line(op, line, inlined ? bytes : 0);
}

RunResult ShmPlane::run_small(Active& a, ExecOp& op, ExecContext& context) {
  op.plan = "small";
  const std::size_t n = peers_.size();
  const bool inlined = a.plan.largest_bytes <= shm::kInlineBytes;
  if (op.progress.stage == kStart) {
    publish_small(a, op);
    op.progress.stage = kPublished;
    context.failpoints->hit(Point::kAfterFirstChunk);
    if (context.should_stop()) return RunState::kStopped;
  }
  const shm::Tag tag = shm::make_tag(epoch_, op.id);
  for (std::size_t i = 0; i < n; ++i) {
    const shm::OpLine& line = peers_[i].page->line(op.id);
    if (i != self_) {
      if (!wait_word(line.ready, true, tag, context)) return RunState::kStopped;
      if (!same_desc(line.desc, op.desc)) return mismatch(i, line.desc, op.desc);
    }
    a.inputs[i] = inlined ? line.body : peers_[i].page->block(op.id);
  }
  make_small(a, op);
  if (auto peer = withdrawn_peer()) return broken(*peer, "withdrawn", false);
  op.progress.stage = kDone;
  return RunState::kPrepared;
}

// My whole output from everybody's line or block.
void ShmPlane::make_small(Active& a, const ExecOp& op) {
  for (const algo::Piece& piece : a.plan.result) {
    if (piece.bytes == 0) continue;
    std::byte* to = a.result.data() + piece.to;
    if (!piece.fold) {
      std::memcpy(to, static_cast<const std::byte*>(a.inputs[piece.from]) + piece.at, piece.bytes);
      continue;
    }
    for (std::size_t i = 0; i < sources_.size(); ++i)
      sources_[i] = static_cast<const std::byte*>(a.inputs[i]) + piece.at;
    kernels::reduce(op.desc.type, op.desc.reduce, to, sources_, piece.bytes / size_of(op.desc.type));
  }
}

// --- large ops ---

std::size_t ShmPlane::table_bytes(const Active& a) const {
  return a.plan.told ? (peers_.size() * sizeof(algo::Span) + 63) / 64 * 64 : 0;
}

RunResult ShmPlane::run_large(Active& a, ExecOp& op, ExecContext& context) {
  op.plan = "waist";
  if (op.progress.stage <= kStaging) {
    if (RunResult r = take_slot(a, op, context); r.state != RunState::kPrepared) return r;
    if (RunResult r = stage_input(a, op, context); r.state != RunState::kPrepared) return r;
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
  if (!wait_all(op.id, [](const shm::WordsPage& p) -> auto& { return p.words.placed; }, context)) return RunState::kStopped;
  op.progress.stage = kDone;
  return RunState::kPrepared;
}

// Scratch whose last op everybody has released, or new scratch of this epoch.
RunResult ShmPlane::take_slot(Active& a, ExecOp& op, ExecContext& context) {
  const std::size_t bytes = std::max<std::size_t>(table_bytes(a) + a.plan.placed_bytes[self_], 64);
  const auto taken = [&](Slot& slot) {
    slot.op = op.id;
    a.place.scratch_segment = slot.memory->id;
    a.place.scratch_offset = 0;
    a.scratch[self_] = slot.memory->memory.data();
    if (a.plan.told) std::memcpy(slot.memory->memory.data(), a.plan.gives.data(), peers_.size() * sizeof(algo::Span));
    return RunResult(RunState::kPrepared);
  };
  if (op.progress.stage == kStaging) return RunState::kPrepared;  // taken before the stop
  for (Slot& slot : slots_) {
    if (slot.memory->memory.size() < bytes) continue;
    const shm::Tag tag = shm::make_tag(epoch_, slot.op);
    const bool free = std::all_of(peers_.begin(), peers_.end(), [&](const PeerState& peer) {
      return shm::reached(peer.page->words.released.load(std::memory_order_acquire), tag);
    });
    if (free) return taken(slot);
  }
  if (slots_.size() >= domain_.words().window) {  // all in use or too small: wait for the oldest
    auto oldest = std::min_element(slots_.begin(), slots_.end(), [](auto& x, auto& y) { return x.op < y.op; });
    if (!wait_all(oldest->op, [](const shm::WordsPage& p) -> auto& { return p.words.released; }, context))
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
  spare_count_ = std::max<std::size_t>(slots_.size(), 2);
  spares_due_ = true;
  return taken(slots_.back());
}

// Makes the input readable by peers, if the plan has them read it: where it lies if registered, else one copy into staging.
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
      kernels::copy(to + at, from, part, store_for(bytes));
    at += part;
    if (context.should_stop()) return RunState::kStopped;
  }
  staging_.holds = op.id;
  a.place.input_segment = staging_.memory->id;
  a.place.input_offset = 0;
  a.inputs[self_] = to;
  return RunState::kPrepared;
}

Result<const std::byte*> ShmPlane::map(std::size_t peer, std::uint32_t segment, std::uint64_t offset, std::size_t bytes) {
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
    if (!wait_word(line.ready, true, tag, context)) return RunState::kStopped;
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
  if (std::find(seen.begin(), seen.end(), place.scratch_segment) == seen.end()) seen.push_back(place.scratch_segment);
  return RunState::kPrepared;
}

RunResult ShmPlane::produce(Active& a, ExecOp& op, ExecContext& context) {
  const kernels::Store store = store_for(a.plan.told ? a.plan.placed_bytes[self_] : a.plan.largest_bytes);
  auto* to = const_cast<std::byte*>(a.scratch[self_]) + table_bytes(a);
  std::size_t& at = op.progress.at;
  if (a.plan.placed_bytes[self_] == 0) context.failpoints->hit(Point::kAfterFirstChunk);
  for (const algo::Piece& piece : a.plan.place) {
    while (at < piece.to + piece.bytes) {
      const std::size_t done = at - piece.to, part = std::min(piece.bytes - done, kChunkBytes);
      if (piece.fold) {
        for (std::size_t i = 0; i < sources_.size(); ++i)
          sources_[i] = static_cast<const std::byte*>(a.inputs[i]) + piece.at + done;
        kernels::reduce(op.desc.type, op.desc.reduce, to + at, sources_, part / size_of(op.desc.type), store);
      } else {
        kernels::copy(to + at, static_cast<const std::byte*>(a.inputs[piece.from]) + piece.at + done, part, store);
      }
      if (at == 0) context.failpoints->hit(Point::kAfterFirstChunk);
      at += part;
      if (context.should_stop()) return RunState::kStopped;
    }
  }
  return context.should_stop() ? RunState::kStopped : RunState::kPrepared;
}

// --- commit and after ---

void ShmPlane::announce_prepared(OpId op) { raise(domain_.words().words.prepared, op); }

RunResult ShmPlane::await_commit(OpId op, CommitCounter& counter, ExecContext& context) {
  const shm::Tag tag = shm::make_tag(epoch_, op);
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (i == self_) continue;
    const std::atomic<shm::Tag>& word = peers_[i].page->words.prepared;
    if (!wait_word(word, false, tag, context)) return RunState::kStopped;
    counter.observe(i, op);
  }
  return RunState::kPrepared;
}

void ShmPlane::copy_out(ExecOp& op) {
  const Active& a = active(op.id);
  RG_CHECK(a.id == op.id && op.progress.stage == kDone);
  const std::size_t n = peers_.size(), whole = a.plan.output_bytes, head = table_bytes(a);
  if (a.small) {
    if (whole != 0) std::memcpy(op.out, a.result.data(), whole);
    return;
  }
  auto* out = static_cast<std::byte*>(op.out);
  for (std::size_t step = 0; step < n; ++step) {
    const std::size_t i = (self_ + step) % n;
    const algo::Take& take = a.plan.takes[i];
    if (take.bytes != 0) kernels::copy(out + take.to, a.scratch[i] + head + take.at, take.bytes, store_for(whole));
  }
}

void ShmPlane::release(OpId op) {
  domain_.calm();
  if (active(op).small) return;  // nothing that peers read after the commit
  raise(domain_.words().words.released, op);
  look_at_spares();
}

void ShmPlane::withdraw() {
  domain_.words().words.withdrawn.store(1, std::memory_order_seq_cst);
}

// Makes spares for the next epoch when this one has shown what it needs, and maps the peers' ahead.
void ShmPlane::look_at_spares() {
  if (std::exchange(spares_due_, false)) domain_.keep_spares(spare_count_, spare_bytes_);
  for (PeerState& peer : peers_) {
    if (!peer.memory) continue;
    const shm::SpareLine& line = peer.page->spares;
    const std::uint32_t version = line.version.load(std::memory_order_acquire);
    if (version == peer.spares_version) continue;
    peer.spares_version = version;
    std::vector<std::uint32_t> ids;
    for (const auto& id : line.segment) ids.push_back(id.load(std::memory_order_relaxed));
    domain_.map_ahead(peer.memory, std::move(ids));
  }
}

}  // namespace regroup

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
                                static_cast<std::uint8_t>(d.reduce), d.mark};
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

RunResult broken(std::size_t peer, std::string detail, bool ban_shared) {
  RunResult result;
  result.state = RunState::kBroken;
  result.other = peer;
  result.ban_shared = ban_shared;
  result.detail = std::move(detail);
  return result;
}

}  // namespace

Result<std::unique_ptr<ShmPlane>> ShmPlane::open(shm::Domain& domain, ShmStaging& staging, const View& view,
                                                 std::size_t self, std::size_t& bad_peer) {
  const std::size_t n = view.members.size();
  std::unique_ptr<ShmPlane> plane(new ShmPlane(domain, staging, view.epoch, self, n));
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

ShmPlane::ShmPlane(shm::Domain& domain, ShmStaging& staging, Epoch epoch, std::size_t self, std::size_t n)
    : domain_(domain),
      staging_(staging),
      epoch_(epoch),
      self_(self),
      peers_(n),
      waiter_(domain.words().sleep, n > usable_cores()),
      inputs_(n),
      sources_(n),
      scratch_(n) {}

ShmPlane::~ShmPlane() {
  // Scratch of an ended epoch is never used again: ours is freed, the peers' unmapped, both on the memory thread.
  for (PeerState& peer : peers_)
    if (peer.memory && !peer.scratch_seen.empty())
      domain_.defer([memory = peer.memory, seen = peer.scratch_seen] {
        for (std::uint32_t id : seen) memory->forget(id);
      });
}

bool ShmPlane::is_small(const OpDesc& desc) const {
  return std::max(desc.bytes(), desc.result_bytes(peers_.size())) <= domain_.words().small_bytes;
}

RunResult ShmPlane::run(ExecOp& op, ExecContext& context) {
  if (active_ != op.id || op.progress.stage == kStart) {
    active_ = op.id;
    op.progress = {};
  }
  if (op.progress.stage == kDone) return RunState::kPrepared;
  active_small_ = is_small(op.desc);
  return active_small_ ? run_small(op, context) : run_large(op, context);
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

RunResult ShmPlane::run_small(ExecOp& op, ExecContext& context) {
  op.plan = "small";
  const std::size_t n = peers_.size(), bytes = op.desc.bytes();
  const bool inlined = bytes <= shm::kInlineBytes;
  if (op.progress.stage == kStart) {
    if (!inlined) std::memcpy(domain_.words().block(op.id), op.in, bytes);
    publish_line(op, op.in, inlined ? bytes : 0);
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
    inputs_[i] = inlined ? line.body : peers_[i].page->block(op.id);
  }
  if (bytes != 0) fold_small(op);  // else no pointer need be valid
  if (auto peer = withdrawn_peer()) return broken(*peer, "withdrawn", false);
  op.progress.stage = kDone;
  return RunState::kPrepared;
}

// The whole result of a small op, from every member's line or block.
void ShmPlane::fold_small(const ExecOp& op) {
  const std::size_t n = peers_.size(), bytes = op.desc.bytes();
  const std::size_t whole = op.desc.result_bytes(n);
  if (result_.size() < whole) result_.resize(std::max<std::size_t>(whole, 4096));
  switch (op.desc.kind) {
    case OpKind::kAllReduce:
      kernels::reduce(op.desc.type, op.desc.reduce, result_.data(), inputs_, op.desc.count);
      break;
    case OpKind::kBroadcast: std::memcpy(result_.data(), inputs_[op.root_index], bytes); break;
    case OpKind::kAllGather:
      for (std::size_t i = 0; i < n; ++i) std::memcpy(result_.data() + i * bytes, inputs_[i], bytes);
      break;
    case OpKind::kBarrier: break;
  }
}

// --- large ops ---

// Bytes of the result that member i places in its scratch.
algo::Range ShmPlane::scratch_range(const ExecOp& op, std::size_t member) const {
  const OpDesc& desc = op.desc;
  const std::size_t size = size_of(desc.type);
  if (desc.kind == OpKind::kBroadcast) return {0, member == op.root_index ? desc.bytes() : 0};
  if (desc.kind == OpKind::kAllGather) return {member * desc.bytes(), (member + 1) * desc.bytes()};
  const algo::Range shard = algo::shard_range(desc.count, peers_.size(), member);
  return {shard.begin * size, shard.end * size};
}

RunResult ShmPlane::run_large(ExecOp& op, ExecContext& context) {
  op.plan = "waist";
  if (op.progress.stage <= kStaging) {
    if (RunResult r = take_slot(op, context); r.state != RunState::kPrepared) return r;
    if (RunResult r = stage_input(op, context); r.state != RunState::kPrepared) return r;
    publish_line(op, &place_, sizeof place_);
    op.progress.stage = kPublished;
    op.progress.at = 0;
  }
  if (op.progress.stage == kPublished) {
    if (RunResult r = meet_peers(op, context); r.state != RunState::kPrepared) return r;
    op.progress.stage = kReducing;
  }
  if (op.progress.stage == kReducing) {
    if (RunResult r = produce(op, context); r.state != RunState::kPrepared) return r;
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
RunResult ShmPlane::take_slot(ExecOp& op, ExecContext& context) {
  const algo::Range mine = scratch_range(op, self_);
  const std::size_t bytes = std::max<std::size_t>(mine.size(), 64);
  const auto taken = [&](Slot& slot) {
    slot.op = op.id;
    place_.scratch_segment = slot.memory->id;
    place_.scratch_offset = 0;
    scratch_[self_] = slot.memory->memory.data();
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
    auto oldest = std::min_element(slots_.begin(), slots_.end(), [](auto& a, auto& b) { return a.op < b.op; });
    if (!wait_all(oldest->op, [](const shm::WordsPage& p) -> auto& { return p.words.released; }, context))
      return RunState::kStopped;
    slots_.erase(oldest);
  }
  Result<shm::OwnedPtr> made = domain_.take_scratch(bytes);
  if (!made) return broken(self_, made.error().detail, false);
  slots_.push_back({std::move(*made), 0});
  // Spares are for the next epoch, which most often has one member less, so larger shards.
  const std::size_t heirs = std::max<std::size_t>(peers_.size() - 1, 1);
  const std::size_t shard = op.desc.kind == OpKind::kAllReduce ? op.desc.bytes() / heirs + 64 * 64 : bytes;
  spare_bytes_ = std::max(spare_bytes_, std::max(shard, bytes));
  spare_count_ = std::max<std::size_t>(slots_.size(), 2);
  spares_due_ = true;
  return taken(slots_.back());
}

// Makes the input readable by peers: where it lies if registered, else one copy into staging.
RunResult ShmPlane::stage_input(ExecOp& op, ExecContext& context) {
  const std::size_t bytes = op.desc.bytes();
  const bool read_by_peers = op.desc.kind == OpKind::kAllReduce;
  op.progress.stage = kStaging;
  if (!read_by_peers) {  // what peers read is placed in scratch
    inputs_[self_] = op.in;
    return RunState::kPrepared;
  }
  if (auto location = domain_.find(op.in, bytes)) {
    place_.input_segment = location->segment;
    place_.input_offset = location->offset;
    inputs_[self_] = op.in;
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
    kernels::copy(to + at, static_cast<const std::byte*>(op.in) + at, part, store_for(bytes));
    at += part;
    if (context.should_stop()) return RunState::kStopped;
  }
  staging_.holds = op.id;
  place_.input_segment = staging_.memory->id;
  place_.input_offset = 0;
  inputs_[self_] = to;
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

RunResult ShmPlane::meet_peers(ExecOp& op, ExecContext& context) {
  const shm::Tag tag = shm::make_tag(epoch_, op.id);
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (i == self_) continue;
    const shm::OpLine& line = peers_[i].page->line(op.id);
    if (!wait_word(line.ready, true, tag, context)) return RunState::kStopped;
    if (!same_desc(line.desc, op.desc)) return mismatch(i, line.desc, op.desc);
    shm::Place place;
    std::memcpy(&place, line.body, sizeof place);
    if (op.desc.kind == OpKind::kAllReduce) {
      Result<const std::byte*> input = map(i, place.input_segment, place.input_offset, op.desc.bytes());
      if (!input) return broken(i, input.error().detail, true);
      inputs_[i] = *input;
    }
    Result<const std::byte*> scratch = map(i, place.scratch_segment, place.scratch_offset, scratch_range(op, i).size());
    if (!scratch) return broken(i, scratch.error().detail, true);
    scratch_[i] = *scratch;
    auto& seen = peers_[i].scratch_seen;
    if (std::find(seen.begin(), seen.end(), place.scratch_segment) == seen.end()) seen.push_back(place.scratch_segment);
  }
  return RunState::kPrepared;
}

RunResult ShmPlane::produce(ExecOp& op, ExecContext& context) {
  const algo::Range mine = scratch_range(op, self_);
  const kernels::Store store = store_for(op.desc.result_bytes(peers_.size()));
  auto* to = const_cast<std::byte*>(scratch_[self_]);
  for (std::size_t& at = op.progress.at; at < mine.size();) {
    const std::size_t part = std::min(mine.size() - at, kChunkBytes);
    if (op.desc.kind == OpKind::kAllReduce) {
      for (std::size_t i = 0; i < sources_.size(); ++i)
        sources_[i] = static_cast<const std::byte*>(inputs_[i]) + mine.begin + at;
      kernels::reduce(op.desc.type, op.desc.reduce, to + at, sources_, part / size_of(op.desc.type), store);
    } else {
      kernels::copy(to + at, static_cast<const std::byte*>(op.in) + at, part, store);
    }
    if (at == 0) context.failpoints->hit(Point::kAfterFirstChunk);
    at += part;
    if (context.should_stop()) return RunState::kStopped;
  }
  return RunState::kPrepared;
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
  RG_CHECK(active_ == op.id && op.progress.stage == kDone);
  const std::size_t n = peers_.size(), whole = op.desc.result_bytes(n);
  if (active_small_) {
    if (whole != 0) std::memcpy(op.out, result_.data(), whole);
    return;
  }
  auto* out = static_cast<std::byte*>(op.out);
  for (std::size_t step = 0; step < n; ++step) {
    const std::size_t i = (self_ + step) % n;
    const algo::Range range = scratch_range(op, i);
    kernels::copy(out + range.begin, scratch_[i], range.size(), store_for(whole));
  }
}

void ShmPlane::release(OpId op) {
  if (active_small_) return;  // nothing that peers read after the commit
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

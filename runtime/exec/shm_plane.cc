#include "runtime/exec/shm_plane.h"

#include <algorithm>

#include "base/check.h"
#include "runtime/exec/shm_common.h"
#include "transport/shm/cores.h"
#include "transport/wire/address.h"

namespace regroup {

using namespace shm_detail;  // NOLINT: a room of its own

Result<std::unique_ptr<ShmPlane>> ShmPlane::open(shm::Domain& domain, ShmStaging& staging, ShmPairs& pairs,
                                                 const View& view, std::size_t self, std::size_t& bad_peer,
                                                 std::size_t slots) {
  const std::size_t n = view.members.size();
  domain.calm();  // what an epoch without a commit left
  std::vector<Incarnation> peers;
  for (const MemberInfo& m : view.members) peers.push_back(m.inc);
  domain.keep_peers(peers);
  std::unique_ptr<ShmPlane> plane(new ShmPlane(domain, staging, pairs, view, self, slots));
  shm::add_own_cores(domain.words().cores);
  std::vector<const shm::CoreLine*> cores{&domain.words().cores};
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
    cores.push_back(&peer.page->cores);
  }
  plane->waiter_.set_oversubscribed(n > shm::count_cores(cores));
  return plane;
}

ShmPlane::ShmPlane(shm::Domain& domain, ShmStaging& staging, ShmPairs& pairs, const View& view, std::size_t self,
                   std::size_t slots)
    : domain_(domain),
      staging_(staging),
      pairs_(pairs),
      view_(view),
      epoch_(view.epoch),
      self_(self),
      peers_(view.members.size()),
      waiter_(domain.words().sleep),
      most_slots_(slots),
      ring_(domain.words().window),
      sources_(view.members.size()) {}

ShmPlane::~ShmPlane() {
  retire();
  // Scratch of an ended epoch is never used again: ours is freed, the peers' unmapped, on the memory thread. A peer
  // that is gone goes with the last plane that knows it.
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
  if (a.small && a.result.size() < a.plan.output_bytes)
    a.result.resize(std::max<std::size_t>(a.plan.output_bytes, 4096));
}

RunResult ShmPlane::run(ExecOp& op, ExecContext& context) {
  Active& a = active(op.id);
  if (a.id != op.id || op.progress.stage == kStart) {
    op.progress = {};
    begin(a, op);
    a.early = !a.small && op.desc.output_scratch();
    if (!a.small) find_own(a, op);
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

bool ShmPlane::wait_word(const std::atomic<shm::Tag>& word, bool exact, shm::Tag tag, ExecContext& context,
                         shm::ExchangeTime* timed) {
  if (context.glance) {
    const shm::Tag seen = word.load(std::memory_order_acquire);
    return exact ? seen == tag : shm::reached(seen, tag);
  }
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
      },
      timed);
}

std::optional<std::size_t> ShmPlane::withdrawn_peer() const {
  read_fence();  // the reads of inputs come before this look
  for (std::size_t i = 0; i < peers_.size(); ++i)
    if (i != self_ && peers_[i].page->words.withdrawn.load(std::memory_order_acquire) > epoch_) return i;
  return std::nullopt;
}

void ShmPlane::publish_line(const ExecOp& op, const void* body, std::size_t bytes) {
  shm::OpLine& line = domain_.words().line(op.id);
  put_desc(line.desc, op.desc);
  if (bytes != 0) std::memcpy(line.body, body, bytes);
  raise(line.ready, op.id);
}

// --- commit and after ---

void ShmPlane::announce_prepared(OpId op) { raise(domain_.words().words.prepared, op); }

RunResult ShmPlane::await_commit(OpId op, CommitCounter& counter, ExecContext& context) {
  const shm::Tag tag = shm::make_tag(epoch_, op);
  for (std::size_t i = 0; i < peers_.size(); ++i) {
    if (i == self_) continue;
    const std::atomic<shm::Tag>& word = peers_[i].page->words.prepared;
    if (!wait_word(word, false, tag, context, active(op).small ? nullptr : &exchange_)) return RunState::kStopped;
    counter.observe(i, op);
  }
  return RunState::kPrepared;
}

void ShmPlane::release(OpId op) {
  domain_.calm();
  if (active(op).small) return;  // nothing that peers read after the commit
  released_ = op;
  raise(domain_.words().words.released, op);
  look_at_spares();
}

void ShmPlane::withdraw() { domain_.words().words.withdrawn.store(shm::kAllEpochs, std::memory_order_seq_cst); }

// Output given as scratch (PROTOCOL.md). All who are in the decision were wedged before it and prepare nothing more in
// this epoch, so only those who are out of it find the word raised.
void ShmPlane::retire() {
  if (!lent_) return;
  std::atomic<std::uint64_t>& word = domain_.words().words.withdrawn;
  std::uint64_t seen = word.load(std::memory_order_relaxed);
  while (seen <= epoch_ && !word.compare_exchange_weak(seen, epoch_ + 1, std::memory_order_seq_cst)) {
  }
  full_fence();
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

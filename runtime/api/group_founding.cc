// What a founded group does before its members' first op: they agree on the newest state that one of them holds, in memory
// (all were evicted and came back) or in a checkpoint, and take it. By ops of the group itself, so whoever dies meanwhile
// is left out of the choice at all alike; on the submitting thread, as the first ops of the life.
#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "runtime/api/group_impl.h"

namespace regroup {
namespace {

constexpr std::size_t kChunkBytes = 64u << 20;
constexpr std::size_t kHeadBytes = 2048;  // and 8 a blob

// Larger: newer; at the same step memory before checkpoints, then the lower rank. 0: holds nothing.
std::uint64_t key_of(std::uint64_t step, bool in_memory, int rank) {
  if (step == 0) return 0;
  return step << 11 | (in_memory ? 1ull << 10 : 0) | (1023 - static_cast<std::uint64_t>(rank));
}

struct Head {  // what the member that gives its state says first
  Code code = Code::kOk;
  std::string detail;
  std::vector<std::uint64_t> blob_bytes;
};
void encode(const Head& head, std::span<std::byte> into) {
  Writer w;
  w.u8(static_cast<std::uint8_t>(head.code));
  w.text(std::string_view(head.detail).substr(0, 1000));
  w.u32(static_cast<std::uint32_t>(head.blob_bytes.size()));
  for (std::uint64_t b : head.blob_bytes) w.u64(b);
  RG_CHECK(w.bytes().size() <= into.size());
  std::copy(w.bytes().begin(), w.bytes().end(), into.begin());
}
Head decode(std::span<const std::byte> in) {
  Reader r(in);
  Head head;
  head.code = static_cast<Code>(r.u8());
  head.detail = r.text(1000);
  const std::uint32_t n = r.count(1u << 20);
  for (std::uint32_t i = 0; i < n && r.ok(); ++i) head.blob_bytes.push_back(r.u64());
  return head;
}

}  // namespace

struct GroupImpl::Candidate {
  std::uint64_t step = 0;  // 0: none
  bool in_memory = false;
  std::optional<state::CheckpointDir::Newest> file;
};

Status GroupImpl::open_checkpoints() {
  if (options_.checkpoint_dir.empty()) return {};
  std::vector<std::string> blobs;
  for (const StateBlob& b : options_.blobs) blobs.push_back(b.name);
  auto dir = state::CheckpointDir::open(options_.checkpoint_dir, options_.group, holder_->table(), std::move(blobs), options_.rank);
  if (!dir) return dir.error();
  checkpointer_ = std::make_unique<state::Checkpointer>(std::move(*dir), *holder_, options_.checkpoint_every);
  const auto newest = checkpointer_->dir().newest();
  if (!newest) return newest.error();
  if (*newest) checkpoint_step_ = (*newest)->head.step;
  return {};
}

Result<GroupImpl::Candidate> GroupImpl::candidate() {
  Candidate mine;
  if (const state::Holder::Version own = holder_->own(); own.known) mine.step = own.step, mine.in_memory = own.step != 0;
  if (!checkpointer_) return mine;
  auto newest = checkpointer_->dir().newest();
  if (!newest) return newest.error();
  if (*newest && (*newest)->head.step > mine.step) mine = {(*newest)->head.step, false, std::move(*newest)};
  return mine;
}

Status GroupImpl::founding_op(const calls::Uniform& call, bool mark, Instant until) {
  OpOptions options;
  options.mark = mark;
  Result<ExecOp> op = calls::make(site(), call, options);
  if (!op) return op.error();
  const Result<Outcome> outcome = engine_.execute(std::move(*op), until);
  if (!outcome) return outcome.error();
  Epoch before = seen_epoch_.load();
  while (before < outcome->epoch && !seen_epoch_.compare_exchange_weak(before, outcome->epoch)) {
  }
  return {};
}

// Until it is done with all that are left of the founders, or this member was evicted and has come back to a group that is.
Status GroupImpl::agree_on_state(Instant until) {
  while (founded_.exchange(false)) {
    std::shared_ptr<state::Joiner> last;
    {
      std::lock_guard lock(joiner_mutex_);
      last = retired_;
    }
    if (last) last->wait_over();  // it may have been overwriting the state
    (void)view();
    const Status status = agree_once(until);
    if (status.ok()) return {};
    if (status.code() == Code::kViewChanged) founded_.store(true);  // who gave its state is gone: choose again
    else if (status.code() != Code::kEvicted) return status;
  }
  return {};
}

Status GroupImpl::agree_once(Instant until) {
  Result<Candidate> mine = candidate();
  if (!mine) log::warn("checkpoint_unusable", "why=\"" + mine.error().detail + "\"");
  const Candidate held = mine ? std::move(*mine) : Candidate{};
  std::uint64_t best = key_of(held.step, held.in_memory, options_.rank);
  const std::uint64_t own = best;
  if (Status s = founding_op({OpKind::kAllReduce, &best, &best, 1, DataType::kU64, ReduceOp::kMax}, false, until); !s) return s;
  const std::uint64_t step = best >> 11;
  const Instant begin = now();
  Status taken;
  if (step != 0) {
    const MemberId winner{1023 - static_cast<std::uint32_t>(best & 1023), 0};
    if (own != best && held.in_memory && held.step != step)
      log::warn("state_replaced", "own_step=" + std::to_string(held.step) + " by=" + to_string(winner) + " step=" + std::to_string(step));
    taken = take_from(held, winner, until);
    if (taken.code() == Code::kViewChanged || taken.code() == Code::kEvicted) return taken;
  }
  // All of them, to the same bits; the op that says so ends the founding.
  std::uint64_t words[3] = {taken.ok() ? 0u : 1u, 0, 0};
  if (step != 0)
    for (const StateBuffer& b : options_.state)
      words[1] = words[1] * 31 + state::digest_of({static_cast<const std::byte*>(b.data), b.bytes});
  words[2] = ~words[1];
  if (Status s = founding_op({OpKind::kAllReduce, words, words, 3, DataType::kU64, ReduceOp::kMax}, true, until); !s) return s;
  if (!taken) return taken;
  if (words[0] != 0) return {Code::kUnavailable, "another member could not take the state as of step " + std::to_string(step)};
  if (words[1] != ~words[2]) return {Code::kUnavailable, "the members hold different state as of step " + std::to_string(step)};
  engine_.set_steps(step);
  holder_->set_version(step, engine_.snapshot().committed);
  if (step == 0) return {};
  log::info("state_agreed", "step=" + std::to_string(step) + " by=" + std::to_string(1023 - (best & 1023)));
  restore_ns_.store((now() - begin).ns);
  recorder_.record(Event::kRestored, engine_.snapshot().committed, 0, static_cast<std::uint16_t>(1023 - (best & 1023)));
  if ((own != best || !held.in_memory) && options_.on_restored) options_.on_restored();
  return {};
}

// The winner's state, by broadcasts. A checkpoint that cannot be used is the same error at all; nobody's state is changed.
Status GroupImpl::take_from(const Candidate& mine, MemberId winner, Instant until) {
  const bool giver = static_cast<std::uint32_t>(options_.rank) == winner.replica;
  std::vector<std::vector<std::byte>> blobs(options_.blobs.size());
  std::vector<std::byte> text(kHeadBytes + 8 * blobs.size());
  if (giver) {
    Head head;
    if (!mine.in_memory) {
      holder_->forget();
      if (Status s = checkpointer_->dir().load(*mine.file, options_.state); !s) head.code = Code::kConfig, head.detail = s.error().detail;
    }
    for (std::size_t i = 0; i < blobs.size(); ++i) {
      blobs[i] = mine.in_memory ? options_.blobs[i].save() : mine.file->head.blobs[i].bytes;
      head.blob_bytes.push_back(blobs[i].size());
    }
    encode(head, text);
  }
  const auto give = [&](void* data, std::size_t bytes) {
    return founding_op({OpKind::kBroadcast, data, data, bytes, DataType::kU8, {}, winner}, false, until);
  };
  if (Status s = give(text.data(), text.size()); !s) return s;
  const Head head = decode(text);
  if (head.code != Code::kOk) return {head.code, "member " + to_string(winner) + ": " + head.detail};
  if (head.blob_bytes.size() != blobs.size()) return {Code::kConfig, "the members have different blobs"};
  if (!giver) holder_->forget();
  const std::size_t chunk = std::clamp<std::size_t>(options_.staging_bytes / 4, 256u << 10, kChunkBytes);
  for (const StateBuffer& b : options_.state)
    for (std::size_t at = 0; at < b.bytes; at += chunk)
      if (Status s = give(static_cast<std::byte*>(b.data) + at, std::min(chunk, b.bytes - at)); !s) return s;
  for (std::size_t i = 0; i < blobs.size(); ++i) {
    blobs[i].resize(head.blob_bytes[i]);
    if (!blobs[i].empty())
      if (Status s = give(blobs[i].data(), blobs[i].size()); !s) return s;
  }
  Status loaded;
  for (std::size_t i = 0; i < blobs.size(); ++i)
    if (!giver || !mine.in_memory)
      if (Status s = options_.blobs[i].load(blobs[i]); !s && loaded.ok())
        loaded = {Code::kInvalid, "blob '" + options_.blobs[i].name + "' cannot be loaded: " + s.error().detail};
  return loaded;
}

}  // namespace regroup

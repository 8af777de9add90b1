#include "tests/model/plane.h"

#include <algorithm>

namespace regroup::model {
namespace {

using u8 = std::uint8_t;

// One member's sight of the others.
class Engine {
 public:
  Engine(const Bounds& b, const Procs& procs, int slot)
      : b_(b),
        procs_(procs),
        p_(*procs[slot]),
        slot_(slot),
        decision_(p_.counter.decision()),
        epoch_(p_.counter.epoch()) {
    for (const MemberInfo& m : decision_.view.members) view_ |= 1u << slot_of(m.inc);
  }

  // Word `w` of slot s in our epoch, as it can be seen here; never less than trim.
  [[nodiscard]] u8 sees(int s, u8 Page::*w) const {
    const u8 trim = static_cast<u8>(decision_.trim);
    const Proc& peer = *procs_[s];
    u8 value = trim;
    if (b_.rule == Rule::kNoEpoch)  // a frame of any epoch counts
      for (const Page& page : peer.pages) value = std::max(value, page.*w);
    if (peer.pages.size() <= epoch_) return value;
    const Page& page = peer.pages[epoch_];
    u8 seen = page.*w;
    if (b_.plane == PlaneModel::kNet && s != slot_) seen = std::min(seen, reach_of(page, w));
    return std::max(value, seen);
  }
  [[nodiscard]] bool all_see(u8 Page::*w, OpId k, unsigned except = 0) const {
    for (int s = 0; s < kMaxSlots; ++s)
      if ((view_ & ~except) >> s & 1 && sees(s, w) < k) return false;
    return true;
  }

  // The shard that I reduce: everybody's input, each once.
  [[nodiscard]] Cell shard(OpId k) const {
    Cell sum{static_cast<u8>(k), 0};
    for (int s = 0; s < kMaxSlots; ++s) {
      if (!(view_ >> s & 1)) continue;
      if (b_.plane == PlaneModel::kNet)
        sum.fold(Cell::input(s, static_cast<u8>(k)));
      else
        sum.fold(procs_[s]->buffers[k % static_cast<OpId>(b_.window)]);
    }
    return sum;
  }
  // Shard of slot s for op k as it stands now, in the pages of `epoch`.
  [[nodiscard]] Cell stands(int s, OpId k, Epoch epoch) const {
    const Proc& peer = *procs_[s];
    if (b_.rule == Rule::kReadBuffer && peer.counter.high() > k) return Cell::foreign();  // its owner went on
    std::size_t e = epoch;
    if (b_.rule == Rule::kNoEpoch && (peer.pages.size() <= e || peer.pages[e].placed < k))
      for (e = 0; e + 1 < peer.pages.size() && peer.pages[e].placed < k;) ++e;
    if (peer.pages.size() <= e) return Cell{};
    return peer.pages[e].scratch[k % static_cast<OpId>(b_.scratch_slots())];
  }

  void steps(const std::function<void(Do, std::uint64_t)>& visit) const {
    if (p_.freeze_asked != 0) visit(Do::kFreeze, 0);
    if (!p_.installed()) return;
    const CommitCounter& c = p_.counter;
    const OpId next = c.committed() + 1;
    if (b_.lazy_submit && c.high() < static_cast<OpId>(b_.ops) && c.high() < p_.copied + static_cast<OpId>(b_.window))
      visit(Do::kSubmit, 0);
    if (p_.copied < c.committed()) copy_out(visit);
    const bool settled = p_.copied == c.committed();
    if (settled && next <= c.high() && fails(next)) visit(Do::kSettle, 0);
    place(visit);
    prepare(visit);
    commit(visit, next);
    if (b_.rule == Rule::kSelfAbort && c.prepared() >= next && next <= c.high() && !fails(next)) visit(Do::kAbort, 0);
    const Cell mine = p_.buffers[next % static_cast<OpId>(b_.window)];
    if (b_.rule == Rule::kBufferReturned && next <= c.high() && mine.op == next) visit(Do::kReturnBuffer, 0);
  }

 private:
  [[nodiscard]] static u8 reach_of(const Page& page, u8 Page::*w, int slot) {
    const Page::Reach& r = page.reach[slot];
    return w == &Page::ready ? r.ready : w == &Page::placed ? r.placed : r.prepared;
  }
  [[nodiscard]] u8 reach_of(const Page& page, u8 Page::*w) const { return reach_of(page, w, slot_); }
  [[nodiscard]] bool fails(OpId k) const { return p_.counter.failure_of(k, b_.shape_op(k)).has_value(); }
  [[nodiscard]] bool stopped() const { return p_.counter.frozen(); }

  // Looked at after the reading, before a word is raised.
  [[nodiscard]] bool somebody_withdrew() const {
    for (int s = 0; s < kMaxSlots; ++s)
      if (view_ >> s & 1 && procs_[s]->pages.size() > epoch_ && procs_[s]->pages[epoch_].withdrawn) return true;
    return false;
  }

  void place(const std::function<void(Do, std::uint64_t)>& visit) const {
    const OpId k = p_.page().placed + 1u;
    if (stopped() || k > p_.counter.high() || fails(k) || p_.copied < decision_.trim) return;
    if (b_.shape_op(k) && p_.shape_epoch != epoch_) return visit(Do::kRefuse, k);
    if (!all_see(&Page::ready, k) || !slot_free(k)) return;
    if (b_.plane == PlaneModel::kNet || !somebody_withdrew()) visit(Do::kPlace, shard(k).word());
  }

  // The slot of op k held op k - 1: nobody reads that any more.
  [[nodiscard]] bool slot_free(OpId k) const {
    if (b_.plane != PlaneModel::kShm || k <= decision_.trim + 1) return true;
    return b_.rule == Rule::kSlotReuse ? p_.counter.committed() + 1 >= k : all_see(&Page::released, k - 1);
  }

  void prepare(const std::function<void(Do, std::uint64_t)>& visit) const {
    const OpId k = p_.counter.prepared() + 1;
    if (b_.rule == Rule::kLateFill && stopped()) return fill(visit, k);
    if (!p_.counter.can_prepare(k) || fails(k) || p_.page().placed < k) return;
    const unsigned absent = b_.rule == Rule::kReduceAbsent ? p_.suspects : 0u;
    if (b_.rule != Rule::kOwnShard && !all_see(&Page::placed, k, absent)) return;
    std::uint64_t shards = 0;
    for (int s = 0; s < kMaxSlots; ++s) {
      if (!(view_ >> s & 1)) continue;
      const bool stood = sees(s, &Page::placed) >= k;
      if (b_.holds_results() && stood) shards |= std::uint64_t{stands(s, k, epoch_).word()} << (16 * s);
      if (!stood && absent >> s & 1) shards |= std::uint64_t{shard(k).word()} << (16 * s);
    }
    if (b_.plane == PlaneModel::kOut && somebody_withdrew()) return;
    visit(Do::kPrepare, shards);
    if (b_.digests && b_.holds_results()) visit(Do::kPrepareOdd, shards);
  }
  // Wrong rule: takes what it lacks from a holder although it has reported.
  void fill(const std::function<void(Do, std::uint64_t)>& visit, OpId k) const {
    if (k > p_.counter.high() || fails(k)) return;
    for (int from = 0; from < kMaxSlots; ++from) {
      if (!(view_ >> from & 1) || from == slot_ || sees(from, &Page::prepared) < k || !procs_[from]->running())
        continue;
      std::uint64_t shards = 0;
      for (int s = 0; s < kMaxSlots; ++s) shards |= std::uint64_t{held(*procs_[from], k, s).word()} << (16 * s);
      return visit(Do::kPrepare, shards);
    }
  }
  [[nodiscard]] Cell held(const Proc& p, OpId k, int s) const {
    return p.staging[k % static_cast<OpId>(b_.scratch_slots())][s];
  }

  // The commit counter judges by what was seen; a wrong rule shows it what was not there.
  void commit(const std::function<void(Do, std::uint64_t)>& visit, OpId k) const {
    if (k > p_.counter.high() || fails(k)) return;
    unsigned prepared = 0;
    for (int s = 0; s < kMaxSlots; ++s)
      if (view_ >> s & 1 && sees(s, &Page::prepared) >= k) prepared |= 1u << s;
    if (!(prepared >> slot_ & 1)) return;
    if (b_.rule == Rule::kCommitLocal) prepared = view_;
    if (b_.rule == Rule::kCommitMajority && 2 * std::popcount(prepared) > std::popcount(view_)) prepared = view_;
    if (b_.rule == Rule::kCommitUnsuspected && (view_ & ~p_.suspects & ~prepared) == 0) prepared = view_;
    unsigned odd = 0;
    for (int s = 0; s < kMaxSlots; ++s)
      if (prepared >> s & 1 && procs_[s]->pages.size() > epoch_ && procs_[s]->pages[epoch_].odd >> k & 1)
        odd |= 1u << s;
    visit(Do::kCommit, prepared | odd << 8);
  }

  void copy_out(const std::function<void(Do, std::uint64_t)>& visit) const {
    const OpId k = p_.copied + 1u;
    const Proc* from = &p_;
    if (b_.rule == Rule::kTrimMax && b_.holds_results()) from = holder(k, p_.outcomes[k - 1].mask);
    if (from == nullptr) return;  // nobody has it: waits for ever
    visit(Do::kCopyOut, whole(*from, k, p_.outcomes[k - 1]));
  }
  // A living member that holds the whole result of k.
  [[nodiscard]] const Proc* holder(OpId k, unsigned mask) const {
    for (const Proc* p : procs_)
      if (p != nullptr && p->running() && whole(*p, k, {Outcome::kCommitted, 0, static_cast<u8>(mask)})) return p;
    return nullptr;
  }
  // Does the result of k stand, as `p` has it at hand?
  [[nodiscard]] bool whole(const Proc& p, OpId k, const Outcome& o) const {
    for (int s = 0; s < kMaxSlots; ++s) {
      if (!(o.mask >> s & 1)) continue;
      const bool own = b_.holds_results() || (b_.rule == Rule::kReduceAbsent && held(p, k, s).op == k);
      if (!((own ? held(p, k, s) : stands(s, k, o.epoch)) == Cell::whole(o.mask, static_cast<u8>(k)))) return false;
    }
    return true;
  }

 public:
  [[nodiscard]] OpId missing_shard() const {
    for (OpId k = p_.copied + 1u; k <= p_.counter.committed() && b_.rule != Rule::kTrimMax; ++k)
      if (p_.outcomes[k - 1].kind == Outcome::kCommitted && !whole(p_, k, p_.outcomes[k - 1])) return k;
    return 0;
  }

 private:
  const Bounds& b_;
  const Procs& procs_;
  const Proc& p_;
  int slot_;
  const Decision& decision_;
  Epoch epoch_;
  unsigned view_ = 0;
};

}  // namespace

void engine_steps_of(const Bounds& bounds, const Procs& procs, int slot,
                     const std::function<void(Do, std::uint64_t)>& visit) {
  Engine(bounds, procs, slot).steps(visit);
}

OpId missing_shard(const Bounds& bounds, const Procs& procs, int slot) {
  return Engine(bounds, procs, slot).missing_shard();
}

}  // namespace regroup::model

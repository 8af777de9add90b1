#include "tests/model/proc.h"

#include "tests/model/state_access.h"

namespace regroup::model {
namespace {

using u8 = std::uint8_t;

class Stepper {
 public:
  Stepper(Proc& p, const Bounds& b, Step& step) : p_(p), b_(b), step_(step) {}

  void feed(const MemberInput& input) {
    MemberActions actions;
    p_.member.on(input, actions);
    for (const MemberAction& action : actions) perform(action);
  }

  void hear(const ToMember& message) {
    if (b_.rule == Rule::kCachedPrepared) force_wedge(message);
    feed(FromCoordinator{message});
  }
  void hear_stray(const ToMember& message) {
    stray_ = true;
    feed(FromCoordinator{message});
    step_.said.clear();  // to the stranger
  }

  void freeze() {
    CommitCounter thawed = p_.counter;
    Report report = p_.counter.freeze();
    if (b_.rule == Rule::kBlindTrim) report.digests.clear();
    p_.freeze_asked = 0;
    p_.reported = static_cast<u8>(report.epoch);
    if (b_.rule == Rule::kWedgedPrepares) p_.counter = std::move(thawed);
    feed(Frozen{report});
  }

  void submit() {
    const OpId k = p_.counter.submit(b_.mark(p_.counter.high() + 1));
    p_.buffers[k % static_cast<OpId>(b_.window)] = Cell::input(p_.slot, static_cast<u8>(k));
    p_.page().ready = static_cast<u8>(k);
    if (b_.shape_op(k)) p_.shape_epoch = static_cast<u8>(p_.counter.epoch());
  }
  [[nodiscard]] bool may_submit() const {
    return p_.installed() && p_.counter.high() < static_cast<OpId>(b_.ops) &&
           p_.counter.high() < p_.copied + static_cast<OpId>(b_.window);
  }
  void submit_eagerly() {
    while (!b_.lazy_submit && may_submit()) submit();
  }

  void settle() {
    const OpId k = p_.counter.committed() + 1;
    const FailedOp failed = p_.counter.failure_of(k, b_.shape_op(k)).value();
    const OpId prepared = p_.counter.prepared();
    p_.counter.settle_failed(k);
    if (p_.reported == p_.counter.epoch() && p_.counter.prepared() != prepared)
      step_.violation = "G7: prepared was raised after the report";
    outcome(k) = {Outcome::kFailed, 0, static_cast<u8>(failed.code)};
    p_.copied = static_cast<u8>(k);
    p_.page().placed = std::max(p_.page().placed, static_cast<u8>(k));
    p_.page().released = std::max(p_.page().released, static_cast<u8>(k));
    publish();
    submit_eagerly();
  }

  void place(Cell shard) {
    Page& page = p_.page();
    ++page.placed;
    page.scratch[page.placed % b_.scratch_slots()] = shard;
    share_scratch();
  }
  // The same memory in every epoch: the callers' outputs.
  void share_scratch() {
    const auto scratch = p_.page().scratch;
    if (b_.rule == Rule::kOldScratch || b_.plane == PlaneModel::kOut)
      for (Page& page : p_.pages) page.scratch = scratch;
  }

  void prepare(std::uint64_t shards, bool odd = false) {
    const OpId k = p_.counter.prepared() + 1;
    const bool late = b_.rule == Rule::kLateFill && p_.counter.frozen();
    if (p_.reported == p_.counter.epoch() && b_.rule != Rule::kWedgedPrepares && !late)
      step_.violation = "G7: prepared was raised after the report";
    if (late) StateAccess::frozen(p_.counter) = false;
    p_.counter.prepare(k, b_.digests ? digest(odd, p_.slot) : 0);
    if (odd) p_.page().odd = static_cast<u8>(p_.page().odd | 1u << k);
    if (late) StateAccess::frozen(p_.counter) = true;
    for (int s = 0; s < kMaxSlots && (b_.holds_results() || b_.rule == Rule::kReduceAbsent); ++s)
      p_.staging[k % static_cast<OpId>(b_.scratch_slots())][s] = odd ? Cell::foreign() : Cell::from(shards >> (16 * s));
    publish();
  }
  static std::uint64_t digest(bool odd, int slot) { return odd ? 2u + static_cast<unsigned>(slot) : 1u; }

  void commit(std::uint64_t seen) {
    const OpId k = p_.counter.committed() + 1;
    const View& view = p_.counter.decision().view;
    CommitCounter counter = p_.counter;
    for (std::size_t i = 0; i < view.members.size(); ++i) {
      const int slot = slot_of(view.members[i].inc);
      if (!(seen >> slot & 1)) continue;
      if (b_.digests) counter.observe_digest(k, digest(seen >> (8 + slot) & 1, slot));
      counter.observe(i, k);
    }
    if (counter.differs()) feed(ChangeWanted{p_.counter.epoch(), false, "digests"});
    if (counter.committable() < k) return;  // what was seen so far is looked at again later
    counter.commit(k);
    p_.counter = std::move(counter);
    const Decision& made = p_.counter.decision();
    if (made.failure_of(k) || (b_.shape_op(k) && k > made.trim && k <= made.high))
      step_.violation = "G4: op " + std::to_string(k) + " is committed, which the decision fails";
    if (b_.shape_op(k) && p_.shape_epoch != made.view.epoch)
      step_.violation =
          "G4: the shape op " + std::to_string(k) + " is committed in another epoch than it was submitted in";
    outcome(k) = {Outcome::kCommitted, static_cast<u8>(view.epoch), static_cast<u8>(mask_of(view))};
    look_at_cut();
  }

  void copy_out(bool whole) {
    ++p_.copied;
    const std::size_t epoch = outcome(p_.copied).epoch == 0 ? p_.counter.epoch() : outcome(p_.copied).epoch;
    Page& page = p_.pages[epoch];
    page.released = std::max(page.released, p_.copied);
    if (!whole)
      step_.violation = "G2: the result of op " + std::to_string(p_.copied) + " is not the fold of its contributors";
    p_.buffers[p_.copied % b_.window] = Cell::foreign();  // in place: the result, then whatever the caller does
    if (b_.plane == PlaneModel::kOut) {
      if (epoch != p_.counter.epoch() && b_.rule != Rule::kNoWithdrawal) page.withdrawn = true;
      p_.page().scratch[p_.copied % b_.scratch_slots()] = Cell::foreign();
      share_scratch();
    }
    submit_eagerly();
  }

  void caught_up() { feed(Parked{Readiness::kLevel}); }

  void fetched(const Proc* source) {
    const Fetch what = p_.fetch.value();
    p_.fetch.reset();
    bool ok = source != nullptr && source->copied >= what.op;
    for (OpId k = what.op; ok && k < source->copied; ++k) ok = source->outcomes[k].kind == Outcome::kFailed;
    if (ok) {
      for (OpId k = 1; k <= what.op; ++k) outcome(k) = source->outcomes[k - 1];
      p_.copied = static_cast<u8>(what.op);
      p_.founded = source->founded;
      p_.counter.start_at(what.op);
    }
    feed(LevelReached{what.plan, what.op, ok});
  }

  void crash() {  // pages and staged inputs outlive their owner; everything private is gone
    const Member fresh{p_.member.config()};
    p_.member = fresh;
    p_.counter = CommitCounter{};
    p_.alive = false;
    p_.freeze_asked = 0, p_.fetch.reset(), p_.cut_posted = p_.follows = false;
  }

  void withdraw() {
    p_.page().withdrawn = true;
    end();
  }

  void lose_frames(std::uint64_t arg) {  // arg: slot, then what that slot has taken of ready, placed, prepared
    auto& reach = p_.pages.back().reach[arg & 3];
    reach = {static_cast<u8>(arg >> 8), static_cast<u8>(arg >> 16), static_cast<u8>(arg >> 24)};
  }

  Outcome& outcome(OpId k) { return p_.outcomes[k - 1]; }

 private:
  void publish() {
    p_.page().prepared = static_cast<u8>(p_.counter.prepared());
    look_at_cut();
  }

  void look_at_cut() {
    if (p_.cut_posted) return;
    std::optional<OpId> cut = p_.counter.cut_reached();
    if (b_.rule == Rule::kEarlyCut && !cut) {
      cut = StateAccess::chosen_cut(p_.counter);
      if (cut && p_.counter.prepared() < *cut) cut.reset();
    }
    if (!cut) return;
    p_.cut_posted = true;
    feed(CutReached{p_.counter.epoch(), *cut});
  }

  void perform(const MemberAction& action) {
    if (const auto* send = std::get_if<SendToCoordinator>(&action)) {
      step_.said.push_back(send->message);
    } else if (const auto* freeze_data = std::get_if<FreezeData>(&action)) {
      p_.freeze_asked = static_cast<u8>(freeze_data->epoch);
    } else if (const auto* install_data = std::get_if<InstallData>(&action)) {
      install(*install_data);
    } else if (std::holds_alternative<CutData>(action)) {
      p_.counter.plan_cut();
      look_at_cut();
    } else if (const auto* fetch_state = std::get_if<FetchState>(&action)) {
      p_.fetch = fetch_state->what;
    } else if (const auto* follow = std::get_if<FollowView>(&action)) {
      p_.follows = b_.follow && !follow->view.members.empty();
    } else if (std::holds_alternative<Ended>(action)) {
      end();
    } else if (!stray_) {
      step_.violation = "G6: a member dropped its own coordinator";
    }
  }

  void install(const InstallData& in) {
    const Decision before = p_.counter.decision();
    const OpId settled = p_.counter.committed();
    if (p_.installed()) {
      for (OpId k = settled + 1; k <= in.decision.trim; ++k) {
        if (p_.counter.prepared() < k && b_.rule != Rule::kTrimMax)
          step_.violation = "G1: a decision commits op " + std::to_string(k) + ", which this member never prepared";
        outcome(k) = {Outcome::kCommitted, static_cast<u8>(before.view.epoch), static_cast<u8>(mask_of(before.view))};
      }
    }
    if (!p_.installed() && p_.copied < in.decision.trim) p_.founded = p_.copied = static_cast<u8>(in.decision.trim);
    p_.counter.install(in.decision, in.self);
    p_.follows = false;
    p_.freeze_asked = 0, p_.cut_posted = false, p_.suspects = 0;
    p_.pages.resize(in.decision.view.epoch + 1);
    Page& page = p_.page();
    page.ready = static_cast<u8>(std::max(p_.counter.high(), in.decision.trim));
    page.prepared = static_cast<u8>(in.decision.trim);
    page.placed = page.released = static_cast<u8>(p_.counter.committed());  // behind trim it has failed
    const bool shared = b_.rule == Rule::kOldScratch || b_.plane == PlaneModel::kOut;
    if (shared && p_.pages.size() > 2) page.scratch = p_.pages[p_.pages.size() - 2].scratch;
    p_.page().prepared = static_cast<u8>(p_.counter.prepared());
    step_.installs = true;
    submit_eagerly();
  }

  void end() {
    if (b_.plane == PlaneModel::kOut && p_.installed()) {  // the caller has the outputs back, too
      p_.page().withdrawn = true;
      p_.page().scratch.fill(Cell::foreign());
      share_scratch();
    }
    p_.over = true;
    p_.counter = CommitCounter{};
    p_.freeze_asked = 0, p_.fetch.reset(), p_.cut_posted = false, p_.suspects = 0;
    p_.buffers.fill(Cell::foreign());  // evicted: the caller has its buffers back
  }

  // Wrong rule: nobody was asked to stop before the decision; what the production member needs is played to it now.
  void force_wedge(const ToMember& message) {
    const auto* in = std::get_if<Install>(&message);
    if (!in || !p_.installed() || p_.member.phase() != Member::Phase::kActive) return;
    if (in->decision.prev != p_.counter.epoch() || !in->decision.view.contains(incarnation_of(p_.slot))) return;
    const std::size_t said = step_.said.size();
    feed(FromCoordinator{Wedge{0, p_.member.decision()}});
    freeze();
    step_.said.resize(said);
  }

  Proc& p_;
  const Bounds& b_;
  Step& step_;
  bool stray_ = false;
};

}  // namespace

unsigned mask_of(const View& view) {
  unsigned mask = 0;
  for (const MemberInfo& m : view.members) mask |= 1u << slot_of(m.inc);
  return mask;
}
int slot_of(const Incarnation& inc) { return static_cast<int>(inc.hi) - 1; }
Incarnation incarnation_of(int slot) { return {static_cast<std::uint64_t>(slot) + 1, 1}; }

Step take_step(Proc& p, const Bounds& bounds, Do what, std::uint64_t arg, const ToMember* message, const Proc* source) {
  Step step;
  Stepper s(p, bounds, step);
  const OpId next = p.counter.committed() + 1;
  switch (what) {
    case Do::kHear: s.hear(*message); break;
    case Do::kConnect: s.feed(Connected{}); break;
    case Do::kFreeze: s.freeze(); break;
    case Do::kSubmit: s.submit(); break;
    case Do::kSettle: s.settle(); break;
    case Do::kPlace: s.place(Cell::from(arg)); break;
    case Do::kPrepare: s.prepare(arg); break;
    case Do::kPrepareOdd: s.prepare(arg, true); break;
    case Do::kCommit: s.commit(arg); break;
    case Do::kCopyOut: s.copy_out(arg != 0); break;
    case Do::kCaughtUp: s.caught_up(); break;
    case Do::kFetched: s.fetched(arg == 0 ? nullptr : source); break;
    case Do::kSuspect:
      p.suspects = static_cast<u8>(p.suspects | 1u << arg);
      s.feed(PeerSuspected{incarnation_of(static_cast<int>(arg)), SuspectKind::kDead});
      break;
    case Do::kAskChange: s.feed(ChangeWanted{p.counter.epoch(), false, "asked"}); break;
    case Do::kAskFail: s.feed(OpRefused{FailedOp{next, Code::kCancelled, {}, {}}}); break;
    case Do::kRefuse: s.feed(OpRefused{FailedOp{arg, Code::kViewChanged, {}, {}}}); break;
    case Do::kAskLeave: s.feed(LeaveWanted{}); break;
    case Do::kCrash: s.crash(); break;
    case Do::kWithdraw: s.withdraw(); break;
    case Do::kStray: s.hear_stray(*message); break;
    case Do::kAbort:
      s.outcome(next) = {Outcome::kFailed, 0, static_cast<u8>(Code::kTimeout)};
      p.over = true;
      break;
    case Do::kReturnBuffer: p.buffers[next % static_cast<OpId>(bounds.window)] = Cell::foreign(); break;
    case Do::kLoseFrames: s.lose_frames(arg); break;
  }
  return step;
}

void Proc::put(Bytes& out) const {
  const Renaming& names = out.names();
  StateAccess::put(out, member);
  StateAccess::put(out, counter);
  out.put(names.slot(slot), alive, over, freeze_asked, reported, cut_posted, copied, follows, founded, shape_epoch, fetch,
          names.mask(suspects));
  for (const Outcome& o : outcomes)
    out.put(o.kind, o.epoch, o.kind == Outcome::kCommitted ? names.mask(o.mask) : o.mask);
  for (const Cell& c : buffers) out.put(c.renamed(names).word());
  for (const auto& result : staging) {
    std::vector<std::uint16_t> held(kMaxSlots);
    for (int s = 0; s < kMaxSlots; ++s) held[static_cast<std::size_t>(names.slot(s))] = result[s].renamed(names).word();
    out.put(held);
  }
  for (const Page& page : pages) {
    out.put(page.ready, page.placed, page.prepared, page.released, page.withdrawn, page.odd);
    for (const Cell& c : page.scratch) out.put(c.renamed(names).word());
    std::vector<std::uint32_t> reach(kMaxSlots);
    for (int s = 0; s < kMaxSlots; ++s)
      reach[static_cast<std::size_t>(names.slot(s))] =
          page.reach[s].ready | std::uint32_t{page.reach[s].placed} << 8 | std::uint32_t{page.reach[s].prepared} << 16;
    out.put(reach);
  }
}

}  // namespace regroup::model

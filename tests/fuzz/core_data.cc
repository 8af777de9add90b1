// The data side of the target `core`: what runtime/work does with a CommitCounter, in its smallest form.
#include <algorithm>

#include "tests/fuzz/core_world.h"

namespace regroup::fuzz {
namespace {

bool is_mark(OpId op) { return op % 3 != 1; }
bool is_shape(OpId op) { return op % 4 == 3; }

}  // namespace

void World::data_step(Life& life, std::uint8_t what) {
  CommitCounter& counter = life.counter;
  if (!life.alive || life.over || counter.epoch() == 0) return;
  switch (what % 4) {
    case 0: {  // submitted with the epoch at hand: a shape op is not while another one is being decided
      if (!counter.room(kWindow) || (counter.frozen() && is_shape(counter.high() + 1))) return;
      const OpId op = counter.submit(is_mark(counter.high() + 1));
      RG_CHECK(op == counter.high());
      sim::Record r = about(life, sim::What::kSubmitted, op, counter.epoch());
      r.mark = is_mark(op);
      return record(r);
    }
    case 1: return try_prepare(life);
    case 2: return observe(life);
    case 3: return settle(life);
  }
}

// The next op: its input is shown; when all members of the view have shown theirs, the result stands here.
void World::try_prepare(Life& life) {
  CommitCounter& counter = life.counter;
  const OpId op = counter.prepared() + 1;
  if (!counter.can_prepare(op) || life.asked.contains(op) || counter.failure_of(op, is_shape(op))) return;
  const Epoch epoch = counter.epoch();
  life.ready[epoch] = std::max(life.ready[epoch], op);
  for (const MemberInfo& m : counter.decision().view.members) {
    const auto peer = std::find_if(lives_.begin(), lives_.end(), [&](const Life& l) { return l.inc() == m.inc; });
    if (peer == lives_.end()) continue;  // forged: nobody
    const auto ready = peer->ready.find(epoch);
    if (honest_ && (ready == peer->ready.end() || ready->second < op)) return;
  }
  life.digests[op] = honest_ ? op : source_.below(3);
  counter.prepare(op, life.digests[op]);
  RG_CHECK(counter.prepared() == op);
  life.words[epoch] = op;
  record(about(life, sim::What::kPrepared, op, epoch));
}

void World::observe(Life& life) {
  CommitCounter& counter = life.counter;
  const std::vector<MemberInfo>& members = counter.decision().view.members;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const auto peer =
        std::find_if(lives_.begin(), lives_.end(), [&](const Life& l) { return l.inc() == members[i].inc; });
    if (peer == lives_.end()) continue;
    const auto word = peer->words.find(counter.epoch());
    if (word != peer->words.end()) counter.observe(i, word->second);
  }
  if (honest_) return;
  const OpId shown = source_.number();  // from a peer, that may say anything
  const std::uint64_t digest = source_.below(3);
  counter.observe_digest(shown, digest);
  const bool open = shown > counter.committed() && shown <= counter.prepared();
  if (open && digest != 0 && life.digests[shown] != 0 && life.digests[shown] != digest)
    RG_CHECK(counter.committable() < shown);
  const std::size_t who = source_.u8() % members.size();
  if (who != counter.self()) counter.observe(who, source_.number());
}

// The oldest op ends, if it can: by the commit rule, or failed by the decision.
void World::settle(Life& life) {
  CommitCounter& counter = life.counter;
  const OpId op = counter.committed() + 1;
  if (op > counter.high() || op == 0) return;
  const bool prepared = counter.prepared() >= op;
  if (prepared && counter.committable() >= op) {
    RG_CHECK(counter.decision().failure_of(op) == nullptr);
    counter.commit(op);
    record(about(life, sim::What::kCommitted, op, counter.epoch()));
  } else if (auto failed = counter.failure_of(op, is_shape(op)); failed && !prepared) {
    counter.settle_failed(op);
    const Epoch epoch = counter.epoch();
    if (counter.prepared() >= op) {
      life.ready[epoch] = std::max(life.ready[epoch], op);
      life.words[epoch] = counter.prepared();
      record(about(life, sim::What::kPrepared, op, epoch));
    }
    sim::Record r = about(life, sim::What::kFailed, op, epoch);
    r.code = failed->code;
    record(r);
  }
}

// Answers of the data side that are due.
void World::answer(Life& life) {
  if (!life.alive || life.over) return;
  if (life.freeze) {
    life.freeze.reset();
    const Report report = life.counter.freeze();
    RG_CHECK(report.prepared <= report.high && report.epoch == life.counter.epoch() && life.counter.frozen());
    record(about(life, sim::What::kWedge, report.prepared, report.epoch));
    return member_on(life, Frozen{report});
  }
  if (const auto cut = life.counter.cut_reached(); cut && !life.cut_told) {
    life.cut_told = true;
    return member_on(life, CutReached{life.counter.epoch(), *cut});
  }
  if (!life.fetch) return;
  const Fetch what = *std::exchange(life.fetch, std::nullopt);
  const auto from =
      std::find_if(lives_.begin(), lives_.end(), [&](const Life& l) { return l.inc() == what.source.inc; });
  const bool stands =
      from != lives_.end() && from->alive && from->counter.epoch() != 0 && from->counter.committed() == what.op;
  member_on(life, LevelReached{what.plan, what.op, stands || !honest_});
}

}  // namespace regroup::fuzz

#include "ft/sim/checker.h"

#include <bit>

namespace regroup::sim {
namespace {

std::string number(std::uint64_t n) { return std::to_string(n); }
std::string who(const Record& r) { return "member " + number(r.replica) + " (life " + number(r.life) + ")"; }

}  // namespace

// Whether op ends no step, as far as the history goes.
bool Checker::known_to_be_inside(const Log& log, OpId op) {
  auto it = log.ops.find(op);
  return it != log.ops.end() && it->second.submitted && !it->second.mark;
}

std::string Checker::on(const Record& r) {
  if (r.what == What::kDurable) {
    Log& log = logs_[r.log];
    const auto [it, fresh] = log.durable.try_emplace(r.epoch, r.decision);
    if (!fresh) return it->second == r.decision ? "" : "G6: two decisions make epoch " + number(r.epoch);
    log.trims[r.epoch] = r.op;
    if (r.op < log.last_trim) return "G4: epoch " + number(r.epoch) + " trims at " + number(r.op) + ", behind the one before";
    log.last_trim = r.op;
    for (auto it = log.ops.upper_bound(r.op); it != log.ops.end(); ++it)
      if (it->second.committed && it->second.epoch <= r.prev)
        return "G1: op " + number(it->first) + " was committed in epoch " + number(it->second.epoch) + ", but epoch " +
               number(r.epoch) + " trims at " + number(r.op);
    if (r.founded) {  // a beginning: no step and no state of the members before lies behind it
      for (auto it = log.ops.upper_bound(r.op); it != log.ops.end(); ++it)
        if (it->second.settled)
          return "G4: epoch " + number(r.epoch) + " founds the group anew at op " + number(r.op) + ", and op " + number(it->first) + " has ended before";
      log.founded = r.epoch;
      log.ops[r.op].mark = true;
      log.ops[r.op].has_state = false;
    }
    if (r.planned && known_to_be_inside(log, r.op))
      return "G4: a planned change is cut at op " + number(r.op) + ", which ends no step";
    return "";
  }
  Life& life = lives_[r.life];
  Log& log = logs_[r.log];
  if (life.over) return "G7: " + who(r) + " acts (" + name_of(r.what) + ") after its incarnation was over";
  if (r.log != 0 && life.log != 0 && r.log != life.log) return "G6: " + who(r) + " obeys two view logs";
  if (r.log != 0) life.log = r.log;
  switch (r.what) {
    case What::kSubmitted: {
      Op& op = log.ops[r.op];
      if (life.submitted != 0 && r.op != life.submitted + 1)
        return "G4: " + who(r) + " numbers op " + number(r.op) + " after op " + number(life.submitted);
      life.submitted = r.op;
      op.submitted = true;
      op.mark = op.mark || r.mark;
      return "";
    }
    case What::kPrepared:
      if (r.epoch == life.wedged) return "G7: " + who(r) + " prepares op " + number(r.op) + " in epoch " + number(r.epoch) + ", which it reported frozen";
      if (life.epoch != 0 && r.epoch != life.epoch)
        return "G7: " + who(r) + " prepares op " + number(r.op) + " in epoch " + number(r.epoch) + " while in " + number(life.epoch);
      return "";
    case What::kWedge: life.wedged = r.epoch; return "";
    case What::kInstall: {
      ++totals_.installs;
      if (r.epoch <= life.epoch) return "G6: " + who(r) + " installs epoch " + number(r.epoch) + " after " + number(life.epoch);
      life.epoch = r.epoch;
      if (r.decision != 0) {
        auto it = log.durable.find(r.epoch);
        if (it == log.durable.end()) return "G6: " + who(r) + " installs epoch " + number(r.epoch) + " before it is durable";
        if (it->second != r.decision) return "G6: " + who(r) + " installs another epoch " + number(r.epoch) + " than the log has";
      }
      if (life.begun) return "";
      life.begun = true;
      // Who was named in a view, never heard of it and comes back is a new pair to those who had installed it.
      std::erase_if(directions_, [&](const auto& d) { return d.first.first == r.life || d.first.second == r.life; });
      if (life.has_state && life.settled != r.op)
        return "G4: " + who(r) + " holds the state as of op " + number(life.settled) + " and enters at " + number(r.op);
      life.settled = r.op;
      life.submitted = r.op;
      if (known_to_be_inside(log, r.op)) return "G4: " + who(r) + " begins in mid-step, behind op " + number(r.op);
      life.has_state = life.has_state || r.op == 0 || r.epoch == log.founded;
      return "";
    }
    case What::kRestored:
      life.settled = r.op;
      life.state = r.state;
      life.has_state = r.state != 0 || r.op == 0;
      if (log.ops[r.op].has_state && life.has_state && log.ops[r.op].state != r.state)
        return "G4: " + who(r) + " took a state as of op " + number(r.op) + " that is not the others'";
      return "";
    case What::kCommitted:
    case What::kFailed: return settle(life, log, r);
    case What::kEnded: life.over = true; return "";
    case What::kMessageSent:
    case What::kMessageTaken:
    case What::kMessageFailed: return message(r);
    case What::kDurable:
    case What::kCount: break;
  }
  return "";
}

std::string Checker::message(const Record& r) {
  const bool sends = r.what == What::kMessageSent || (r.what == What::kMessageFailed && r.sends);
  Direction& d = directions_[sends ? std::pair(r.life, r.peer) : std::pair(r.peer, r.life)];
  const std::string what = "message " + number(r.op) + (sends ? " to life " : " from life ") + number(r.peer);
  std::uint64_t& last = sends ? d.sent : d.taken;
  if (r.op != last + 1) return "G4: " + what + " ends at " + who(r) + " after message " + number(last);
  last = r.op;
  std::array<int, 2>& ends = d.ends[r.op];
  const bool failed = r.what == What::kMessageFailed;
  ++(failed ? totals_.messages_failed : totals_.messages);
  ends[sends ? 0 : 1] = failed ? -1 : 1;
  if (ends[0] * ends[1] < 0)
    return "G1: " + what + " has " + (failed ? "failed" : "gone well") + " at " + who(r) + ", and not so at the other end";
  if (r.what == What::kMessageTaken && r.value != r.expected) return "G2: " + what + " at " + who(r) + " is not what was sent";
  if (ends[0] != 0 && ends[1] != 0) d.ends.erase(r.op);
  return "";
}

std::string Checker::settle(Life& life, Log& log, const Record& r) {
  if (life.begun && r.op != life.settled + 1)
    return "G4: " + who(r) + " settles op " + number(r.op) + " after op " + number(life.settled);
  life.begun = true;
  life.settled = r.op;
  Op& op = log.ops[r.op];
  const bool is_commit = r.what == What::kCommitted;
  ++(is_commit ? totals_.commits : totals_.failures);
  if (op.settled && op.committed != is_commit)
    return "G4: op " + number(r.op) + " is " + (is_commit ? "committed" : "failed") + " at " + who(r) + ", and not so elsewhere";
  if (!is_commit) {
    if (!r.untouched) return "G8: op " + number(r.op) + " failed at " + who(r) + " and has touched its buffers";
    if (op.settled && op.code != r.code) return "G4: op " + number(r.op) + " fails with different codes";
    op.code = r.code;
  } else if (std::string wrong = committed(op, r); !wrong.empty()) {
    return wrong;
  }
  op.settled = true;
  op.committed = is_commit;
  life.state = mix(life.state ^ r.op, is_commit ? mix(r.value.counts, r.value.tag) : static_cast<std::uint64_t>(r.code));
  if (life.has_state) {
    if (op.has_state && op.state != life.state) return "G4: after op " + number(r.op) + " the state of " + who(r) + " is not the others'";
    op.state = life.state;
    op.has_state = true;
  }
  return "";
}

std::string Checker::committed(Op& op, const Record& r) {
  const bool valued = r.contributors != 0;
  if (valued) {
    if (r.value != r.expected) return "G2: op " + number(r.op) + " at " + who(r) + " is not the sum of its contributors' inputs";
    if (r.divisor != static_cast<std::uint32_t>(std::popcount(r.contributors)))
      return "G2: op " + number(r.op) + " at " + who(r) + " was divided by " + number(r.divisor) + " for " +
             number(static_cast<std::uint64_t>(std::popcount(r.contributors))) + " contributors";
  }
  if (op.settled) {
    if (op.epoch != r.epoch) return "G1: op " + number(r.op) + " is committed in epochs " + number(op.epoch) + " and " + number(r.epoch);
    if (valued && op.valued && op.contributors != r.contributors) return "G1: op " + number(r.op) + " has different contributors at " + who(r);
    if (valued && op.valued && op.value != r.value) return "G1: op " + number(r.op) + " has different bits at " + who(r);
  }
  if (auto t = logs_[r.log].trims.upper_bound(r.epoch); t != logs_[r.log].trims.end() && r.log != 0 && t->second < r.op)
    return "G1: op " + number(r.op) + " is committed in epoch " + number(r.epoch) + " by " + who(r) + ", but epoch " +
           number(t->first) + " trimmed at " + number(t->second);
  op.epoch = r.epoch;
  if (valued) op.contributors = r.contributors, op.value = r.value, op.valued = true;
  return "";
}

}  // namespace regroup::sim

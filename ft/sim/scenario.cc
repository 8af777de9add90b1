#include "ft/sim/scenario.h"

#include <algorithm>

#include "ft/sim/history.h"

namespace regroup::sim {
namespace {

constexpr std::int64_t kUs = 1000, kMs = 1'000'000;

std::int64_t between(Rng& rng, std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
}

// As likely in every decade.
std::int64_t decades(Rng& rng, std::int64_t low, std::int64_t high) {
  std::int64_t top = low;
  while (top < high && rng.below(3) != 0) top *= 4;
  return between(rng, low, std::min(top, high) + 1);
}

std::vector<OpSpec> draw_program(Rng& rng, std::uint32_t members, std::uint32_t steps) {
  std::vector<OpSpec> ops;
  const std::uint64_t longest = 1 + rng.below(3);
  const std::uint64_t others = rng.below(5);  // tenths that are not all-reduces
  for (std::uint32_t s = 0; s < steps; ++s) {
    const std::uint64_t n = 1 + rng.below(longest);
    for (std::uint64_t i = 0; i < n; ++i) {
      OpSpec op;
      if (rng.below(10) < others) op.kind = static_cast<Kind>(1 + rng.below(3));
      op.count = static_cast<std::uint32_t>(rng.below(4) == 0 ? rng.below(64) : rng.below(4096));
      op.root = static_cast<std::uint32_t>(rng.below(members));
      op.mark = i + 1 == n;
      ops.push_back(op);
    }
  }
  return ops;
}

}  // namespace

const char* name_of(FaultKind kind) {
  constexpr const char* names[] = {"crash",       "crash_silent",      "pause",             "slow",
                                   "cut_off",     "cut_half",          "cut_one_way",       "cut_coordinator",
                                   "clog",        "flap",              "coordinator_crash", "coordinator_pause",
                                   "coordinator_amnesia", "leave",     "duplicate",         "suspect_wrongly",
                                   "cancel",      "link_reset",        "ask_change", "leave_all", "hand_over", "joiner_and_source"};
  static_assert(std::size(names) == kFaultKinds);
  return names[static_cast<std::size_t>(kind)];
}

Scenario draw_scenario(std::uint64_t seed, std::uint32_t members, std::uint32_t steps) {
  Rng rng(mix(seed, 1));
  Scenario s;
  s.seed = seed;
  const std::uint64_t span = rng.below(3) == 0 ? kMaxMembers - 2 : 4;  // small groups find most
  s.members = members != 0 ? members : static_cast<std::uint32_t>(3 + rng.below(span));
  s.plane = rng.below(2) == 0 ? PlaneKind::kShared : PlaneKind::kNetwork;
  s.ops = draw_program(rng, s.members, steps);
  for (std::size_t i = 0; i < s.ops.size(); ++i)  // two thirds of them pass partial sums on
    if (const std::uint64_t draw = mix(seed, 0x70a5 + i) % 6; draw < 4 && s.ops[i].kind == Kind::kAllReduce)
      s.ops[i].form = draw == 0 ? algo::Form::kRing : draw == 1 ? algo::Form::kGather : algo::Form::kDoubling;
  s.window = 1 + rng.below(4);
  s.slots = 1 + rng.below(s.window);
  s.digests = rng.below(3) == 0;
  s.follow = mix(seed, 0xf0110) % 2 == 0;
  s.commit_when_frozen = rng.below(2) == 0;
  s.delay = decades(rng, 5 * kUs, 500 * kUs);
  s.think = decades(rng, 20 * kUs, 4 * kMs);
  s.sync = decades(rng, 100 * kUs, 10 * kMs);
  s.suspicion = Duration{decades(rng, 50 * kMs, 1000 * kMs)};
  s.wedge_deadline = Duration{decades(rng, 50 * kMs, 1000 * kMs)};
  s.level_deadline = Duration{decades(rng, 100 * kMs, 2000 * kMs)};
  const auto rate = [&](std::uint64_t most) { return rng.below(4) == 0 ? static_cast<std::uint32_t>(rng.below(most)) : 0u; };
  s.lose = rate(40), s.repeat = rate(80), s.overtake = rate(80);
  s.crash_anywhere = rate(40), s.pause_anywhere = rate(60);
  s.corrupt = s.digests && s.plane == PlaneKind::kNetwork && rng.below(2) == 0 ? static_cast<std::uint32_t>(rng.below(60)) : 0;
  // How long the program takes without faults, about; faults come in that time and in the recoveries that follow.
  const std::int64_t step_ns = s.think + 8 * s.delay;
  const std::int64_t run_ns = std::max<std::int64_t>(static_cast<std::int64_t>(s.ops.size()) * step_ns, 30 * kMs);
  std::array<std::uint32_t, static_cast<std::size_t>(FaultKind::kLeaveAll)> weight{};  // of those that come often
  std::uint32_t total = 0;
  for (std::uint32_t& w : weight) total += w = rng.below(3) == 0 ? static_cast<std::uint32_t>(1 + rng.below(8)) : 0;
  const std::uint64_t n = total == 0 ? 0 : rng.below(rng.below(4) == 0 ? 24 : 8);
  std::int64_t at = between(rng, 0, run_ns / 3);
  for (std::uint64_t i = 0; i < n; ++i) {
    Fault f;
    std::uint64_t pick = rng.below(total);
    std::size_t kind = 0;
    while (pick >= weight[kind]) pick -= weight[kind++];
    f.kind = static_cast<FaultKind>(kind);
    f.a = static_cast<std::uint32_t>(rng.below(s.members));
    f.b = static_cast<std::uint32_t>((f.a + 1 + rng.below(s.members - 1)) % s.members);
    f.lasts = decades(rng, 200 * kUs, 3 * s.suspicion.ns);
    f.at = at;
    s.faults.push_back(f);
    // In bursts, or one after the other has been overcome.
    at += rng.below(2) == 0 ? decades(rng, 10 * kUs, 20 * kMs) : decades(rng, kMs, 2 * s.suspicion.ns);
  }
  if (mix(seed, 0x1ea7) % 8 == 0) {
    const auto when = static_cast<std::int64_t>(mix(seed, 0x1ea8) % static_cast<std::uint64_t>(std::max(run_ns, at)));
    s.faults.push_back({when, FaultKind::kLeaveAll, static_cast<std::uint32_t>(mix(seed, 0x1ea9) % s.members), 0, 0});
  }
  if (mix(seed, 0x4a0d) % 8 == 0) {  // at the first hand-over after this
    const auto when = static_cast<std::int64_t>(mix(seed, 0x4a0e) % static_cast<std::uint64_t>(std::max(run_ns, at)));
    s.faults.push_back({when, FaultKind::kHandOver, 0, 0, 0});
  }
  if (s.follow && mix(seed, 0x10b5) % 6 == 0) {  // from the first joiner after this on
    const auto when = static_cast<std::int64_t>(mix(seed, 0x10b6) % static_cast<std::uint64_t>(std::max(run_ns, at)));
    s.faults.push_back({when, FaultKind::kJoinerAndSource, 0, static_cast<std::uint32_t>(mix(seed, 0x10b7) % 2), 0});
  }
  if (const std::uint64_t draw = mix(seed, 0x6d736773); draw % 2 == 0) {  // apart: other draws stay as they are
    s.messages = 1 + draw / 2 % 12;
    s.message_think = std::max<std::int64_t>(run_ns / static_cast<std::int64_t>(s.messages + 1), kUs);
  }
  s.faults_end = std::max(run_ns, at) + 2 * s.suspicion.ns;
  return s;
}

}  // namespace regroup::sim

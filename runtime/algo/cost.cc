#include "runtime/algo/cost.h"

#include <algorithm>
#include <bit>

namespace regroup::algo {

namespace {

std::size_t rounds_for(std::size_t n) { return std::bit_width(n - 1); }

// Chunks that a part is sent in, as executors cut it.
std::size_t chunks_of(std::size_t part) {
  if (part == 0) return 0;
  const std::size_t chunk = chunk_of(part);
  return (part + chunk - 1) / chunk;
}

struct Work {  // of one member
  std::size_t hops = 0, frames = 0, sent = 0, moved = 0;
  double slower = 1;  // bytes, because of how they come
  bool cached = false;
};

// The members of a host take turns at its cores, and wait for theirs after every hand-off.
Estimate of(Form form, const Work& w, const Machine& m) {
  const auto turns = static_cast<double>((m.host_members + m.cores - 1) / m.cores);
  Estimate e;
  e.plan = name_of(form);
  e.moved = w.moved;
  e.sent = w.sent;
  e.hops = static_cast<int>(w.hops);
  e.frames = w.frames;
  const double bytes = static_cast<double>(w.sent) / m.net_gbps * w.slower + static_cast<double>(w.moved) / (w.cached ? m.fold_gbps : m.copy_gbps);
  e.us = static_cast<double>(w.hops) * (m.net_hop_us + (turns - 1) * m.turn_us) +
         turns * (static_cast<double>(w.frames) * m.net_msg_us + bytes / 1e3);
  return e;
}

Work commit_work(std::size_t n, bool passes_on) {
  const std::size_t rounds = rounds_for(n);
  return passes_on ? Work{rounds, 2 * rounds} : Work{1, 2 * (n - 1)};
}

}  // namespace

Estimate predict_commit(std::size_t members, const Machine& machine, bool passes_on) {
  return of(Form::kDirect, commit_work(members, passes_on), machine);
}

Estimate predict(Form form, const OpDesc& desc, const Plan& plan, std::size_t n, const Machine& m, bool passes_on) {
  if (n < 2) return of(form, {0, 0, 0, 2 * plan.largest_bytes}, m);
  Work w = commit_work(n, passes_on);
  const std::size_t whole = plan.largest_bytes, part = (whole + n - 1) / n;
  const bool both = desc.kind == OpKind::kAllReduce;  // a scatter and a gather
  const std::size_t phases = both ? 2 : 1;
  const std::size_t input = desc.reduces() || both ? whole : part;
  w.cached = whole * m.host_members <= m.cache_bytes;
  switch (form) {
    case Form::kSmall:
      w.hops += 1;
      w.frames += 2 * (n - 1);
      w.sent = (n - 1) * input;
      w.moved = (n + 2) * input;
      break;
    case Form::kDirect:
      w.hops += 1 + phases;
      w.frames += 2 * (n - 1) * (1 + phases * chunks_of(part));
      w.sent = phases * (n - 1) * part;
      w.moved = (desc.reduces() ? (n + 1) * part : 0) + 2 * whole;
      if (w.cached) w.slower += m.fan_loss * static_cast<double>(rounds_for(n) - 1);
      break;
    case Form::kRing:
      w.hops += 1 + phases * (n - 1);
      w.frames += 4 + 2 * phases * (n - 1) * chunks_of(part);
      w.sent = phases * (n - 1) * part;
      w.moved = (desc.reduces() ? 3 * (n - 1) * part : 0) + 2 * whole;
      break;
    case Form::kDoubling: {
      const bool extra = !std::has_single_bit(n);  // one more sends its input first, and gets the result
      const std::size_t rounds = std::bit_width(n) - 1 + extra;
      const bool apart = whole > m.small_bytes;
      w.hops += rounds + extra + apart;
      w.frames += 2 * rounds * (apart ? 1 + chunks_of(whole) : 1);
      w.sent = rounds * whole;
      w.moved = (3 * rounds + 2) * whole;
      break;
    }
    case Form::kHierarchical: break;  // see predict_hierarchical
    case Form::kGather: {
      const std::size_t rounds = rounds_for(n), most = std::bit_floor(n - 1) * input;
      const bool apart = most > m.small_bytes;
      w.hops += rounds + apart;
      w.frames += 2 * rounds * (apart ? 2 : 1) + 2 * chunks_of(most);
      w.sent = (n - 1) * input;
      w.moved = (2 * n + 2) * input;
      break;
    }
  }
  return of(form, w, m);
}

Estimate predict_hierarchical(const OpDesc& desc, const Plan& plan, const std::vector<std::uint32_t>& hosts,
                              const Machine& m, bool passes_on) {
  const std::size_t n = hosts.size(), whole = plan.largest_bytes;
  std::vector<std::size_t> on_host(n, 0);
  std::size_t count = 0, fullest = 0;
  for (const std::uint32_t host : hosts) {
    fullest = std::max(fullest, ++on_host[host]);
    count = std::max<std::size_t>(count, host + 1);
  }
  Machine leader = m;  // the others of its host wait
  leader.host_members = 1;
  Estimate e = predict(Form::kRing, desc, plan, count, leader, false);
  e.plan = name_of(Form::kHierarchical);
  e.us += predict_commit(n, m, passes_on).us - predict_commit(count, leader, false).us;
  // Staged, folded and placed by each; taken, placed and taken again by and from the leader, whose ring counts one copy-out.
  const std::size_t every = 2 * whole + (fullest + 1) * (whole / fullest), again = 4 * whole;
  const double turns = static_cast<double>((fullest + m.cores - 1) / m.cores);
  e.moved += every + again;
  e.hops += 4;
  const double alone = static_cast<double>(every) / m.copy_gbps * turns;
  const double together = static_cast<double>(every * fullest) / m.memory_gbps;
  e.us += (std::max(alone, together) + static_cast<double>(again) / m.copy_gbps) / 1e3 + 4 * m.hop_us * turns;
  return e;
}

Estimate estimate(const Plan& plan, const OpDesc& desc, std::size_t self, Medium medium, const Machine& machine,
                  bool private_input) {
  const std::size_t n = plan.takes.size();
  const bool shared = medium == Medium::kShared, small = plan.largest_bytes <= machine.small_bytes;
  Estimate e;
  e.plan = small ? "small" : shared ? "waist" : "direct";
  std::size_t taken = 0;
  for (const Take& take : plan.takes) taken += take.bytes;
  const auto make = [&](const std::vector<Piece>& pieces) {  // read and written
    for (const Piece& piece : pieces) e.moved += piece.bytes * (piece.fold ? n + 1 : 2);
  };
  if (small) {
    make(plan.result);
    e.moved += 2 * plan.input_bytes + 2 * plan.output_bytes;
    e.hops = 2;
    if (!shared) e.sent = (n - 1) * plan.input_bytes;
  } else {
    if (plan.reads_inputs && (desc.scaled() || (shared && private_input && n > 1))) e.moved += 2 * plan.input_bytes;
    if (shared || desc.reduces()) make(plan.place);
    e.moved += 2 * taken;
    e.hops = 3;
    for (std::size_t i = 0; !shared && i < n; ++i)
      if (i != self) e.sent += plan.reads[i].bytes + plan.gives[i].bytes;
    if (!shared) e.moved += 2 * taken;  // received into staging
  }
  // Members of a host share its cores and its memory.
  const double turns = shared ? static_cast<double>((n + machine.cores - 1) / machine.cores) : 1;
  const double alone = static_cast<double>(e.moved) / machine.copy_gbps * turns;
  const double together = shared ? static_cast<double>(e.moved) * static_cast<double>(n) / machine.memory_gbps : 0;
  e.us =
      std::max(alone, together) / 1e3 + (shared ? machine.hop_us * turns : machine.net_hop_us) * (n > 1 ? e.hops : 0);
  if (!shared) e.us += static_cast<double>(e.sent) / machine.net_gbps / 1e3;
  return e;
}

}  // namespace regroup::algo

// Ops that are carried out by the production routes (ring, doubling, gather), cell by cell: symbols in place of bytes.
#include <algorithm>

#include "ft/sim/world.h"

namespace regroup::sim {
namespace {

constexpr Value kGarbage{0xdead'dead'dead'dead, 0xdead'dead'dead'dead};

// Which of its sends to that member this one is, and likewise of takes: both ends count alike.
template <class List, class Who>
std::uint32_t ordinal(const List& list, std::size_t index, Who who) {
  std::uint32_t before = 0;
  for (std::size_t i = 0; i < index; ++i) before += who(list[i]) == who(list[index]);
  return before;
}

}  // namespace

algo::Form World::form_of(OpId op, std::size_t members) const {
  return members < 2 || spec(op).kind != Kind::kAllReduce ? algo::Form::kDirect : spec(op).form;
}

// One thing that can be done now; false: nothing.
bool World::route_step(Life& life, SimOp& op) {
  EpochMemory& mine = *life.now;
  const std::size_t n = mine.lives.size();
  EpochMemory::Staged& staged = mine.staged_of(op.id);
  if (!staged.hops) staged.hops = std::make_shared<Hops>();
  Hops& hops = *staged.hops;
  const Input& kept = life.inputs[op.id % kSlots];
  const Value input = kept.op == op.id ? kept.value : kGarbage;
  if (op.begun != mine.epoch || !hops.begun) {
    op.begun = mine.epoch;
    hops.begun = true;
    const algo::Form form = form_of(op.id, n);
    hops.cell_bytes = form == algo::Form::kRing ? 64 : 1;  // a ring's shards are cells
    algo::Request request;
    request.desc.kind = OpKind::kAllReduce;
    request.desc.count = form == algo::Form::kRing ? 64 * n : 1;
    request.members = n;
    request.self = mine.self;
    algo::Plan plan;
    algo::make_plan(request, plan);
    algo::make_route(request, plan, form, hops.route);
    hops.output.assign(plan.output_bytes / hops.cell_bytes, kGarbage);
    hops.scratch.assign(hops.route.scratch_bytes / hops.cell_bytes, kGarbage);
    hops.made.assign(hops.route.takes.size(), false);
    hops.sent.assign(hops.route.sends.size(), false);
    send_hops(life, op, hops);
    return true;
  }
  const auto cells = [&](const algo::Place& place) {
    return (place.area == algo::Area::kOutput ? hops.output : hops.scratch).begin() +
           static_cast<std::ptrdiff_t>(place.at / hops.cell_bytes);
  };
  bool moved = false;
  for (std::size_t i = 0; i < hops.route.takes.size(); ++i) {
    const algo::Arrival& take = hops.route.takes[i];
    const bool own = take.from == mine.self;
    if (hops.made[i] || (take.needs != algo::kNoTake && !hops.made[take.needs])) continue;
    const std::uint32_t which = ordinal(hops.route.takes, i, [](const algo::Arrival& t) { return t.from; });
    const auto count = static_cast<std::uint32_t>(take.bytes / hops.cell_bytes);
    std::vector<Value> got;
    for (std::uint32_t k = 0; k < count && !own; ++k)
      if (const auto it = hops.came.find({take.from, which, k}); it != hops.came.end()) got.push_back(it->second);
    if (!own && got.size() < count) continue;
    for (std::uint32_t k = 0; k < count; ++k) {
      const bool of_input = take.with.area == algo::Area::kInput;
      Value value = own ? input : got[k];
      if (take.fold && bug_ != DataBug::kPassedOn) value += of_input ? input : *(cells(take.with) + k);
      *(cells(take.to) + k) = value;
    }
    moved = hops.made[i] = true;
  }
  if (moved) {
    send_hops(life, op, hops);
    return true;
  }
  if (std::find(hops.made.begin(), hops.made.end(), false) != hops.made.end() && bug_ != DataBug::kOwnShard) return false;
  op.corrupt = false;
  if (hops.route.gathers) {
    op.whole = {};
    for (const Value& value : hops.scratch) op.whole += value;
  } else {
    op.whole = hops.output.front();
    for (const Value& shard : hops.output)
      if (shard != op.whole) op.whole = {kGarbage.counts, mix(shard.tag, op.whole.tag)};
  }
  hold_whole(life, op);
  return true;
}

// What stands and was not sent.
void World::send_hops(Life& life, const SimOp& op, Hops& hops) {
  for (std::size_t i = 0; i < hops.route.sends.size(); ++i) {
    const algo::Send& s = hops.route.sends[i];
    bool stands = !hops.sent[i];
    for (std::uint32_t t = s.first; t < s.last; ++t) stands = stands && hops.made[t];
    if (!stands) continue;
    hops.sent[i] = true;
    const std::uint32_t which = ordinal(hops.route.sends, i, [](const algo::Send& other) { return other.to; });
    const std::vector<Value>& area = s.from.area == algo::Area::kOutput ? hops.output : hops.scratch;
    for (std::size_t k = 0; k < s.bytes / hops.cell_bytes; ++k) {
      const Value& value = s.from.area == algo::Area::kInput ? life.inputs[op.id % kSlots].value
                                                             : area[s.from.at / hops.cell_bytes + k];
      send(life, s.to, Frame::kHop, op.id, value, 0, {0, which, static_cast<std::uint32_t>(k)});
    }
  }
}

}  // namespace regroup::sim

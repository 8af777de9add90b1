#include "runtime/algo/route.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace regroup::algo {

const char* name_of(Form form) {
  constexpr const char* names[kFormCount] = {"direct", "small", "ring", "doubling", "gather", "hierarchical"};
  return static_cast<int>(form) < kFormCount ? names[static_cast<std::size_t>(form)] : "?";
}

std::optional<Form> form_named(std::string_view name) {
  for (int i = 0; i < kFormCount; ++i)
    if (name == name_of(static_cast<Form>(i))) return static_cast<Form>(i);
  return std::nullopt;
}

namespace {

struct Builder {
  const Request& r;
  const Plan& plan;
  Route& o;
  const std::size_t n = r.members, self = r.self;

  static std::uint32_t id(std::size_t i) { return static_cast<std::uint32_t>(i); }
  [[nodiscard]] std::size_t behind(std::size_t steps) const { return (self + n - steps % n) % n; }
  [[nodiscard]] std::uint32_t last() const { return id(o.takes.size()); }

  // The range of the vector that member i owns.
  [[nodiscard]] Span block(std::size_t i) const {
    switch (r.desc.kind) {
      case OpKind::kAllReduce: {
        const Range e = shard_range(r.desc.count, n, i);
        return {e.begin * size_of(r.desc.type), e.size() * size_of(r.desc.type)};
      }
      case OpKind::kReduceScatter:
      case OpKind::kReduceScatterV: return plan.reads[i];
      default: return {plan.takes[i].to, plan.takes[i].bytes};
    }
  }

  // Shard j is folded from member j + 1 on, around to j. Partials stand in the output, where that has all shards, else in
  // scratch. Returns the take that makes my shard.
  std::uint32_t ring_reduce(bool to_output) {
    std::size_t used = 0;
    for (std::size_t s = 0; s + 1 < n; ++s) {
      const Span out = block(behind(s + 1)), in = block(behind(s + 2));
      const bool ends = s + 2 == n;
      const Place from = s == 0 ? Place{Area::kInput, out.at} : o.takes.back().to;
      o.sends.push_back({id((self + 1) % n), from, out.bytes, s == 0 ? 0 : last() - 1, s == 0 ? 0 : last()});
      Place to{Area::kOutput, to_output ? in.at : 0};
      if (!to_output && !ends) to = {Area::kScratch, used}, used += in.bytes;
      o.takes.push_back({id(behind(1)), to, in.bytes, true, false, ends, {Area::kInput, in.at}, kNoTake});
    }
    o.scratch_bytes = used;
    return last() - 1;
  }

  // Every block from its owner around. `own`: the take that makes mine; kNoTake: it is my input.
  void ring_gather(std::uint32_t own) {
    const Span mine = block(self);
    if (own == kNoTake)
      o.takes.push_back({id(self), {Area::kOutput, mine.at}, mine.bytes, false, false, false, {Area::kInput, 0}, kNoTake});
    for (std::size_t s = 0; s + 1 < n; ++s) {
      const Span out = block(behind(s)), in = block(behind(s + 1));
      const bool input = s == 0 && own == kNoTake;
      const std::uint32_t needs = s == 0 ? own : last() - 1;
      const Place from = input ? Place{Area::kInput, 0} : Place{Area::kOutput, out.at};
      o.sends.push_back({id((self + 1) % n), from, out.bytes, input ? 0 : needs, input ? 0 : needs + 1});
      o.takes.push_back({id(behind(1)), {Area::kOutput, in.at}, in.bytes, false, false, false, {}, kNoTake});
    }
  }

  void ring() {
    const OpKind kind = r.desc.kind;
    if (kind == OpKind::kAllReduce) {
      ring_gather(ring_reduce(true));
    } else if (kind == OpKind::kReduceScatter || kind == OpKind::kReduceScatterV) {
      ring_reduce(false);
    } else {
      ring_gather(kNoTake);
    }
    for (std::size_t i = 0; i < n; ++i) o.largest_bytes = std::max(o.largest_bytes, block(i).bytes);
  }

  // The whole vector with member `other`: mine becomes the fold of both, in member order.
  void exchange(std::size_t other, bool mine_first, bool ends) {
    const std::size_t bytes = r.desc.bytes();
    const bool begun = !o.takes.empty();
    const Place mine = begun ? o.takes.back().to : Place{Area::kInput, 0};
    const std::uint32_t needs = begun ? last() - 1 : kNoTake;
    o.sends.push_back({id(other), mine, bytes, begun ? needs : 0, begun ? last() : 0});
    take_whole(other, mine_first, ends, mine, needs);
  }
  void take_whole(std::size_t other, bool mine_first, bool ends, Place mine, std::uint32_t needs) {
    const std::size_t bytes = r.desc.bytes();
    Place to{Area::kOutput, 0};
    if (!ends) to = {Area::kScratch, o.scratch_bytes}, o.scratch_bytes += bytes;
    o.takes.push_back({id(other), to, bytes, true, mine_first, ends, mine, needs});
  }

  // A power of two of members do the rounds; of the first 2 * extra, each odd one gives its input to the one before it
  // and gets the result.
  void doubling() {
    const std::size_t core = std::bit_floor(n), extra = n - core, bytes = r.desc.bytes();
    o.once = true;
    o.largest_bytes = bytes;
    if (self < 2 * extra && self % 2 != 0) {
      o.sends.push_back({id(self - 1), {Area::kInput, 0}, bytes, 0, 0});
      o.takes.push_back({id(self - 1), {Area::kOutput, 0}, bytes, false, false, false, {}, kNoTake});
      return;
    }
    const auto member = [&](std::size_t v) { return v < extra ? 2 * v : v + extra; };
    const std::size_t mine = self < 2 * extra ? self / 2 : self - extra;
    if (mine < extra) take_whole(self + 1, true, core == 1, {Area::kInput, 0}, kNoTake);
    for (std::size_t far = 1; far < core; far *= 2) exchange(member(mine ^ far), (mine & far) == 0, far * 2 == core);
    if (mine < extra) o.sends.push_back({id(self + 1), {Area::kOutput, 0}, bytes, last() - 1, last()});
  }

  // Scratch holds the inputs of self, self + 1, ...; each round takes as many again from further on.
  void gather() {
    const std::size_t bytes = plan.input_bytes;
    o.once = o.gathers = true;
    o.scratch_bytes = n * bytes;
    o.inputs.resize(n);
    for (std::size_t i = 0; i < n; ++i) o.inputs[i] = (i + n - self) % n * bytes;
    o.takes.push_back({id(self), {Area::kScratch, 0}, bytes, false, false, false, {Area::kInput, 0}, kNoTake});
    for (std::size_t have = 1; have < n; have *= 2) {
      const std::size_t more = std::min(have, n - have);
      o.largest_bytes = std::max(o.largest_bytes, more * bytes);
      if (have == 1)
        o.sends.push_back({id(behind(1)), {Area::kInput, 0}, bytes, 0, 0});
      else
        o.sends.push_back({id(behind(have)), {Area::kScratch, 0}, more * bytes, 0, last()});
      o.takes.push_back({id((self + have) % n), {Area::kScratch, have * bytes}, more * bytes, false, false, false, {}, kNoTake});
    }
  }
};

std::string where(const Place& place, std::size_t bytes) {
  constexpr const char* names[] = {"input", "output", "scratch"};
  return std::string(names[static_cast<std::size_t>(place.area)]) + " [" + std::to_string(place.at) + ", +" +
         std::to_string(bytes) + ")";
}

void ring_of_leaders(const Request& request, const Plan& plan, Route& route) {
  RG_CHECK(request.leaders != nullptr && request.leaders->size() >= 2);
  const std::vector<std::uint32_t>& leaders = *request.leaders;
  const auto mine = std::find(leaders.begin(), leaders.end(), request.self);
  if (mine == leaders.end()) return;
  Request among = request;
  among.members = leaders.size();
  among.self = static_cast<std::size_t>(mine - leaders.begin());
  Builder b{among, plan, route};
  b.ring();
  for (Send& send : route.sends) send.to = leaders[send.to];
  for (Arrival& take : route.takes) take.from = leaders[take.from];
}

}  // namespace

bool has_form(Form form, const OpDesc& desc) {
  const OpKind kind = desc.kind;
  switch (form) {
    case Form::kDirect: return true;
    case Form::kSmall: return !desc.told();
    case Form::kRing:
      return kind == OpKind::kAllReduce || kind == OpKind::kReduceScatter || kind == OpKind::kReduceScatterV ||
             kind == OpKind::kAllGather || kind == OpKind::kAllGatherV;
    case Form::kDoubling:
    case Form::kHierarchical: return kind == OpKind::kAllReduce;
    case Form::kGather:
      return kind == OpKind::kAllReduce || kind == OpKind::kReduceScatter || kind == OpKind::kReduceScatterV ||
             kind == OpKind::kAllGather || kind == OpKind::kBarrier;
  }
  return false;
}

void make_route(const Request& request, const Plan& plan, Form form, Route& route) {
  RG_CHECK(routed(form) && has_form(form, request.desc) && request.members >= 2);
  route.sends.clear();
  route.takes.clear();
  route.inputs.clear();
  route.scratch_bytes = route.largest_bytes = 0;
  route.once = route.gathers = false;
  if (form == Form::kHierarchical) return ring_of_leaders(request, plan, route);
  Builder b{request, plan, route};
  if (form == Form::kRing) return b.ring();
  if (form == Form::kDoubling) return b.doubling();
  return b.gather();
}

std::string to_text(const Route& route) {
  std::string text;
  const std::size_t steps = std::max(route.sends.size(), route.takes.size());
  for (std::size_t i = 0; i < steps; ++i) {
    if (i < route.sends.size()) {
      const Send& s = route.sends[i];
      text += "send to " + std::to_string(s.to) + " " + where(s.from, s.bytes);
      if (s.last != s.first) text += ", made by " + std::to_string(s.first) + ".." + std::to_string(s.last - 1);
      text += "\n";
    }
    if (i < route.takes.size()) {
      const Arrival& t = route.takes[i];
      text += std::to_string(i) + ": take from " + std::to_string(t.from) + " to " + where(t.to, t.bytes);
      if (t.fold) text += std::string(", fold it ") + (t.mine_first ? "behind " : "before ") + where(t.with, t.bytes);
      text += "\n";
    }
  }
  if (route.gathers) text += "make the whole output from all inputs\n";
  return text;
}

}  // namespace regroup::algo

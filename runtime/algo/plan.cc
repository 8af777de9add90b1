#include "runtime/algo/plan.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace regroup {

const char* name_of(OpKind kind) {
  constexpr const char* names[kOpKindCount] = {"all_reduce", "broadcast",      "all_gather",       "barrier",
                                               "reduce",     "reduce_scatter", "all_to_all",       "gather",
                                               "scatter",    "all_gather_v",   "reduce_scatter_v", "all_to_all_v",
                                               "gather_v",   "scatter_v",      "send_recv"};
  return static_cast<int>(kind) < kOpKindCount ? names[static_cast<std::size_t>(kind)] : "?";
}

namespace algo {
namespace {

// Builds one plan; the names are those of the request.
struct Builder {
  const Request& r;
  Plan& p;
  const std::size_t n = r.members, self = r.self, block = r.desc.bytes();
  const bool is_root = r.self == r.root;

  void clear() {
    p.place.clear();
    p.result.clear();
    p.placed_bytes.assign(n, 0);
    p.inputs.assign(n, 0);
    p.reads.assign(n, {});
    p.gives.assign(n, {});
    p.takes.assign(n, {});
    p.input_bytes = p.output_bytes = p.largest_bytes = 0;
    p.told = p.reads_inputs = false;
  }
  static std::uint32_t id(std::size_t i) { return static_cast<std::uint32_t>(i); }

  // Everybody's range of member i, folded by i; whoever `all` or is root takes all of it.
  void shard_fold(bool all) {
    const bool receives = all || is_root;
    for (std::size_t i = 0; i < n; ++i) {
      const Range e = shard_range(r.desc.count, n, i);
      const std::size_t size = size_of(r.desc.type), at = e.begin * size, bytes = e.size() * size;
      p.placed_bytes[i] = bytes;
      p.reads[i] = {at, bytes};
      if (receives) p.takes[i] = {0, at, bytes};
      if (i == self) p.place.push_back({true, 0, at, bytes, 0});
    }
    for (std::size_t j = 0; j < n; ++j)
      if (all || j == r.root) p.gives[j] = {0, p.placed_bytes[self]};
    if (receives) p.result.push_back({true, 0, 0, block, 0});
    p.reads_inputs = true;
    p.inputs.assign(n, block);
    p.input_bytes = p.largest_bytes = block;
    p.output_bytes = receives ? block : 0;
  }

  // One buffer: the root has its output already.
  void broadcast() {
    for (std::size_t i = 0; i < n; ++i) {
      Span span{0, i == r.root ? block : 0};
      if (r.spread == Spread::kAll) {
        const Range e = shard_range(r.desc.count, n, i);
        span = {e.begin * size_of(r.desc.type), e.size() * size_of(r.desc.type)};
        if (is_root) p.reads[i] = span;
        p.reads_inputs = true;
      }
      p.placed_bytes[i] = span.bytes;
      if (!is_root) p.takes[i] = {0, span.at, span.bytes};
      if (i == self && span.bytes != 0) p.place.push_back({false, id(r.root), span.at, span.bytes, 0});
    }
    for (std::size_t j = 0; j < n; ++j)
      if (j != r.root) p.gives[j] = {0, p.placed_bytes[self]};
    if (!is_root) p.result.push_back({false, id(r.root), 0, block, 0});
    p.inputs[r.root] = block;
    p.input_bytes = p.inputs[self];
    p.largest_bytes = block;
    p.output_bytes = is_root ? 0 : block;
  }

  // Block i of `at(i)`, `bytes(i)` in the order of members.
  [[nodiscard]] Span block_of(std::size_t i) const {
    if (r.tables == nullptr || r.tables->counts.empty()) return {i * block, block};
    std::size_t at = 0;
    for (std::size_t k = 0; k < i; ++k) at += r.tables->counts[k];
    return {at * size_of(r.desc.type), r.tables->counts[i] * size_of(r.desc.type)};
  }

  // Everybody's own block, to all or to the root.
  void collect(bool all) {
    const bool receives = all || is_root;
    for (std::size_t i = 0; i < n; ++i) {
      const Span span = block_of(i);
      p.placed_bytes[i] = span.bytes;
      p.largest_bytes = span.at + span.bytes;
      if (!receives) continue;
      p.takes[i] = {0, span.at, span.bytes};
      p.result.push_back({false, id(i), 0, span.bytes, span.at});
    }
    p.inputs = p.placed_bytes;
    p.input_bytes = p.inputs[self];
    p.output_bytes = receives ? p.largest_bytes : 0;
    p.place.push_back({false, id(self), 0, p.input_bytes, 0});
    for (std::size_t j = 0; j < n; ++j)
      if (all || j == r.root) p.gives[j] = {0, p.input_bytes};
  }

  void reduce_scatter() {
    for (std::size_t i = 0; i < n; ++i) {
      const Span span = block_of(i);
      p.placed_bytes[i] = span.bytes;
      p.reads[i] = span;
      p.largest_bytes = span.at + span.bytes;
    }
    const Span mine = p.reads[self];
    p.place.push_back({true, 0, mine.at, mine.bytes, 0});
    p.gives[self] = {0, mine.bytes};
    p.takes[self] = {0, 0, mine.bytes};
    p.result.push_back({true, 0, mine.at, mine.bytes, 0});
    p.reads_inputs = true;
    p.input_bytes = p.largest_bytes;
    p.inputs.assign(n, p.input_bytes);
    p.output_bytes = mine.bytes;
  }

  // A block for every member, from all or from the root.
  void deal(bool all) {
    const bool gives = all || is_root;
    for (std::size_t i = 0; i < n; ++i) {
      if (all || i == r.root) {
        p.placed_bytes[i] = n * block;
        const std::size_t to = all ? i * block : 0;
        p.takes[i] = {self * block, to, block};
        p.result.push_back({false, id(i), self * block, block, to});
      }
      if (gives) p.gives[i] = {i * block, block};
    }
    if (gives) p.place.push_back({false, id(self), 0, n * block, 0});
    p.inputs = p.placed_bytes;
    p.input_bytes = p.inputs[self];
    p.output_bytes = all ? n * block : block;
    p.largest_bytes = n * block;
  }

  // What I give I pack; what I take lies where its giver's table says.
  void told() {
    p.told = true;
    p.largest_bytes = std::numeric_limits<std::size_t>::max();
    std::size_t packed = 0;
    for (std::size_t j = 0; j < n; ++j) {
      const Span give = r.tables->give[j], take = r.tables->take[j];
      p.gives[j] = {packed, give.bytes};
      if (give.bytes != 0) {
        if (!p.place.empty() && p.place.back().at + p.place.back().bytes == give.at)
          p.place.back().bytes += give.bytes;
        else
          p.place.push_back({false, id(self), give.at, give.bytes, packed});
      }
      packed += give.bytes;
      p.input_bytes = std::max(p.input_bytes, give.at + give.bytes);
      p.takes[j] = {0, take.at, take.bytes};
      p.output_bytes = std::max(p.output_bytes, take.at + take.bytes);
    }
    p.placed_bytes[self] = packed;
  }
};

}  // namespace

std::uint64_t digest_of(const std::vector<std::uint64_t>& counts) {
  std::uint64_t h = 0xcbf2'9ce4'8422'2325 + counts.size();
  for (std::uint64_t c : counts) {
    h = (h ^ c) * 0x9e37'79b9'7f4a'7c15;
    h ^= h >> 29;
  }
  return h;
}

bool fits(const OpDesc& desc, const Tables* tables, std::size_t n) {
  const bool agreed = desc.kind == OpKind::kAllGatherV || desc.kind == OpKind::kReduceScatterV;
  if (agreed) return tables != nullptr && tables->counts.size() == n;
  if (desc.told()) return tables != nullptr && tables->give.size() == n && tables->take.size() == n;
  return true;
}

void make_plan(const Request& request, Plan& plan) {
  RG_CHECK(request.self < request.members && request.root < request.members);
  RG_CHECK(fits(request.desc, request.tables, request.members));
  Builder b{request, plan};
  b.clear();
  switch (request.desc.kind) {
    case OpKind::kAllReduce: return b.shard_fold(true);
    case OpKind::kReduce: return b.shard_fold(false);
    case OpKind::kBroadcast: return b.broadcast();
    case OpKind::kAllGather:
    case OpKind::kAllGatherV: return b.collect(true);
    case OpKind::kGather: return b.collect(false);
    case OpKind::kReduceScatter:
    case OpKind::kReduceScatterV: return b.reduce_scatter();
    case OpKind::kAllToAll: return b.deal(true);
    case OpKind::kScatter: return b.deal(false);
    case OpKind::kAllToAllV:
    case OpKind::kGatherV:
    case OpKind::kScatterV:
    case OpKind::kSendRecv: return b.told();
    case OpKind::kBarrier: return;
  }
}

std::string to_text(const Plan& plan) {
  std::string text;
  for (const Piece& piece : plan.place)
    text += std::string("place ") +
            (piece.fold ? "fold of all inputs" : "copy of input " + std::to_string(piece.from)) + " [" +
            std::to_string(piece.at) + ", +" + std::to_string(piece.bytes) + ")\n";
  for (std::size_t i = 0; i < plan.takes.size(); ++i)
    if (plan.takes[i].bytes != 0)
      text += "take from " + std::to_string(i) + " [" + std::to_string(plan.takes[i].at) + ", +" +
              std::to_string(plan.takes[i].bytes) + ") to " + std::to_string(plan.takes[i].to) + "\n";
  return text;
}

}  // namespace algo
}  // namespace regroup

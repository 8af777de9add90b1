#include "tests/conformance/collective.h"

#include <algorithm>
#include <cstring>

namespace regroup::conformance {
namespace {

using Block = std::vector<std::uint64_t>;

std::uint64_t value(MemberId member, OpId op, std::size_t i) { return coefficient(op, i) << (4 * member.replica); }

// Elements that a gives b in the v forms, by index in the view.
std::size_t given(const Call& call, OpId op, std::size_t a, std::size_t b) {
  return (op * 5 + a * 7 + b * 11) % (2 * call.count + 1);
}

// What one member hands to the call, in elements of its arena.
struct Layout {
  std::size_t in = 0, in_size = 0, out = 0, out_size = 0;
  std::vector<std::size_t> in_counts, in_at, out_counts, out_at, agreed;
};

Layout layout_of(const Call& call, OpId op, std::size_t n, std::size_t self, std::size_t root) {
  Layout l;
  const std::size_t c = call.count;
  const bool at_root = self == root;
  const auto apart = [&](std::size_t in, std::size_t out) {
    l.in_size = in;
    l.out_size = out;
    l.out = in + 3;
  };
  switch (call.kind) {
    case OpKind::kAllReduce:
      apart(c, c);
      if (call.in_place) l.out = 0;
      break;
    case OpKind::kReduce:
      apart(c, at_root ? c : 0);
      if (call.in_place) l.out = 0;
      break;
    case OpKind::kBroadcast:
      l.in_size = at_root ? c : 0;
      l.out_size = c;
      break;
    case OpKind::kBarrier: break;
    case OpKind::kAllGather:
      apart(c, n * c);
      if (call.in_place) l.in = self * c, l.out = 0;
      break;
    case OpKind::kGather:
      apart(c, at_root ? n * c : 0);
      if (call.in_place && at_root) l.in = self * c, l.out = 0;
      break;
    case OpKind::kReduceScatter:
      apart(n * c, c);
      if (call.in_place) l.out = self * c;
      break;
    case OpKind::kScatter:
      apart(at_root ? n * c : 0, c);
      if (call.in_place && at_root) l.out = self * c;
      break;
    case OpKind::kAllToAll:
      apart(n * c, n * c);
      if (call.in_place) l.out = 0;
      break;
    case OpKind::kAllGatherV:
    case OpKind::kReduceScatterV: {
      std::size_t before = 0, all = 0;
      for (std::size_t i = 0; i < n; ++i) {
        l.agreed.push_back(given(call, op, i, 0));
        before += i < self ? l.agreed[i] : 0;
        all += l.agreed[i];
      }
      if (call.kind == OpKind::kAllGatherV) {
        apart(l.agreed[self], all);
        if (call.in_place) l.in = before, l.out = 0;
      } else {
        apart(all, l.agreed[self]);
        if (call.in_place) l.out = before;
      }
      break;
    }
    case OpKind::kSendRecv:  // to the next; the last gives nothing, the first takes nothing, as `root` says
      apart(call.root == 0 || self + 1 < n ? given(call, op, self, (self + 1) % n) : 0,
            call.root == 0 || self != 0 ? given(call, op, (self + n - 1) % n, self) : 0);
      break;
    case OpKind::kAllToAllV:
    case OpKind::kGatherV:
    case OpKind::kScatterV: {
      const bool gives = call.kind != OpKind::kScatterV || at_root, takes = call.kind != OpKind::kGatherV || at_root;
      std::size_t in = 0, out = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const bool to = gives && (call.kind != OpKind::kGatherV || i == root);
        const bool from = takes && (call.kind != OpKind::kScatterV || i == root);
        l.in_counts.push_back(to ? given(call, op, self, i) : 0);
        l.out_counts.push_back(from ? given(call, op, i, self) : 0);
        l.in_at.push_back(in);  // with gaps
        l.out_at.push_back(out);
        in += l.in_counts.back() +
              (call.kind == OpKind::kAllToAllV || (at_root && call.kind == OpKind::kScatterV) ? i : 0);
        out += l.out_counts.back() +
               (call.kind == OpKind::kAllToAllV || (at_root && call.kind == OpKind::kGatherV) ? i : 0);
      }
      apart(in, out);
      break;
    }
  }
  return l;
}

// The elements of the output by definition; kPoison where the op leaves it alone.
Block wanted(const Call& call, OpId op, const std::vector<MemberId>& members, std::size_t self, std::size_t root,
             const Layout& l) {
  Block want(l.out_size, kPoison);
  const std::size_t n = members.size(), c = call.count;
  const auto sum = [&](std::size_t first) {
    for (std::size_t i = 0; i < want.size(); ++i) {
      want[i] = 0;
      for (const MemberId& m : members) want[i] += value(m, op, first + i);
    }
  };
  const auto copy = [&](std::size_t to, std::size_t from_member, std::size_t first, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) want[to + i] = value(members[from_member], op, first + i);
  };
  const auto before = [&](const std::vector<std::size_t>& counts, std::size_t i) {
    std::size_t at = 0;
    for (std::size_t k = 0; k < i; ++k) at += counts[k];
    return at;
  };
  switch (call.kind) {
    case OpKind::kAllReduce:
    case OpKind::kReduce: sum(0); break;
    case OpKind::kBroadcast: copy(0, root, 0, c); break;
    case OpKind::kReduceScatter: sum(self * c); break;
    case OpKind::kReduceScatterV: sum(before(l.agreed, self)); break;
    case OpKind::kBarrier: break;
    case OpKind::kAllGather:
    case OpKind::kGather:
      for (std::size_t i = 0; i < n && l.out_size != 0; ++i) copy(i * c, i, 0, c);
      break;
    case OpKind::kAllGatherV:
      for (std::size_t i = 0; i < n; ++i) copy(before(l.agreed, i), i, 0, l.agreed[i]);
      break;
    case OpKind::kScatter: copy(0, root, self * c, c); break;
    case OpKind::kAllToAll:
      for (std::size_t i = 0; i < n; ++i) copy(i * c, i, self * c, c);
      break;
    case OpKind::kSendRecv: copy(0, (self + n - 1) % n, 0, l.out_size); break;
    case OpKind::kAllToAllV:
    case OpKind::kGatherV:
    case OpKind::kScatterV:
      for (std::size_t i = 0; i < n; ++i) {
        const Layout theirs = layout_of(call, op, n, i, root);
        if (l.out_counts[i] != 0) copy(l.out_at[i], i, theirs.in_at[self], l.out_counts[i]);
      }
      break;
  }
  return want;
}

Result<Outcome> issue(Group& g, const Call& call, const Layout& l, const std::byte* in, std::byte* out,
                      const ViewInfo& view) {
  OpOptions options;
  options.output_scratch = call.output_scratch;
  const MemberId root{static_cast<std::uint32_t>(call.root), 0};
  const std::size_t c = call.count;
  constexpr DataType t = DataType::kU64;
  constexpr ReduceOp s = ReduceOp::kSum;
  switch (call.kind) {
    case OpKind::kAllReduce: return g.all_reduce(in, out, c, t, s, options);
    case OpKind::kReduce: return g.reduce(in, l.out_size != 0 ? out : nullptr, c, t, s, root, options);
    case OpKind::kBroadcast: return g.broadcast(out, c, t, root, options);
    case OpKind::kBarrier: return g.barrier();
    case OpKind::kAllGather: return g.all_gather(in, out, c, t, options);
    case OpKind::kReduceScatter: return g.reduce_scatter(in, out, c, t, s, options);
    case OpKind::kAllToAll: return g.all_to_all(in, out, c, t, options);
    case OpKind::kGather: return g.gather(in, l.out_size != 0 ? out : nullptr, c, t, root, options);
    case OpKind::kScatter: return g.scatter(l.in_size != 0 ? in : nullptr, out, c, t, root, options);
    case OpKind::kAllGatherV: return g.all_gather_v(in, out, l.agreed, t);
    case OpKind::kReduceScatterV: return g.reduce_scatter_v(in, out, l.agreed, t, s);
    case OpKind::kAllToAllV: return g.all_to_all_v(in, l.in_counts, l.in_at, out, l.out_counts, l.out_at, t);
    case OpKind::kSendRecv: {
      const std::size_t n = view.size();
      return g.send_recv(in, l.in_size, view.members[(view.self + 1) % n], out, l.out_size,
                         view.members[(view.self + n - 1) % n], t);
    }
    case OpKind::kGatherV: {
      std::size_t mine = 0;
      for (std::size_t x : l.in_counts) mine += x;
      return g.gather_v(in, mine, out, l.out_counts, l.out_at, t, root);
    }
    case OpKind::kScatterV: {
      std::size_t mine = 0;
      for (std::size_t x : l.out_counts) mine += x;
      return g.scatter_v(in, l.in_counts, l.in_at, out, mine, t, root);
    }
  }
  return {Code::kInvalid, "no such kind"};
}

}  // namespace

const std::vector<OpKind>& kinds() {
  static const std::vector<OpKind> all = {
      OpKind::kAllReduce, OpKind::kReduce,  OpKind::kBroadcast, OpKind::kAllGather,  OpKind::kReduceScatter,
      OpKind::kAllToAll,  OpKind::kGather,  OpKind::kScatter,   OpKind::kAllGatherV, OpKind::kReduceScatterV,
      OpKind::kAllToAllV, OpKind::kGatherV, OpKind::kScatterV,  OpKind::kSendRecv};
  return all;
}

Seen run_call(Group& group, int rank, OpId op, const Call& call) {
  Seen seen;
  const ViewInfo view = group.view();
  const std::size_t n = view.size(), self = view.self;
  const auto position = [](const std::vector<MemberId>& members, int id) {
    return static_cast<std::size_t>(
        std::find(members.begin(), members.end(), MemberId{static_cast<std::uint32_t>(id), 0}) - members.begin());
  };
  const Layout l = layout_of(call, op, n, self, position(view.members, call.root));
  Block kept(std::max(l.in + l.in_size, l.out + l.out_size) + 2, kPoison);
  for (std::size_t i = 0; i < l.in_size; ++i) kept[l.in + i] = value({static_cast<std::uint32_t>(rank), 0}, op, i);
  const std::size_t bytes = kept.size() * sizeof kept[0];
  std::vector<std::byte> own(bytes + 8);
  std::byte* arena = own.data();
  Result<void*> memory = nullptr;
  if (call.registered) {
    memory = group.allocate(bytes + 8);
    if (!memory) return seen.wrong = "no registered memory", seen;
    arena = static_cast<std::byte*>(*memory);
  }
  arena += call.skew;
  std::memcpy(arena, kept.data(), bytes);
  const Result<Outcome> got = issue(group, call, l, arena + l.in * 8, arena + l.out * 8, view);
  if (got.code() == Code::kTimeout) group.detach();
  seen.code = got.code();
  if (!got) {
    seen.detail = got.error().detail;
    if (call.output_scratch && (l.in_size == 0 || l.in != l.out))  // then the output may hold anything
      std::memcpy(kept.data() + l.out, arena + l.out * 8, l.out_size * 8);
    if (std::memcmp(arena, kept.data(), bytes) != 0) seen.wrong = "failed and touched a buffer";
  } else {
    const std::vector<MemberId>& members = got->view->members;
    const Layout now = layout_of(call, op, members.size(), got->view->self, position(members, call.root));
    const Block want = wanted(call, op, members, got->view->self, position(members, call.root), now);
    for (std::size_t i = 0; i < want.size(); ++i) {
      if (want[i] != kPoison) kept[l.out + i] = want[i];
      seen.digest = (seen.digest ^ want[i]) * 0x100'0000'01b3 + 1;
    }
    if (std::memcmp(arena, kept.data(), bytes) != 0) seen.wrong = "wrong bytes";
    seen.epoch = got->epoch;
    seen.attempts = got->attempts;
    seen.contributors = ids_of(*got->view);
  }
  if (!seen.wrong.empty())
    seen.wrong = std::string(name_of(call.kind)) + " x" + std::to_string(call.count) + " root " +
                 std::to_string(call.root) + (call.in_place ? " in place" : "") +
                 (call.registered ? " registered" : "") + " op " + std::to_string(op) + " at rank " +
                 std::to_string(rank) + " of " + std::to_string(n) + ": " + seen.wrong;
  if (call.registered && seen.code != Code::kClosed) (void)group.deallocate(*memory).ok();
  return seen;
}

std::string not_uniform(const std::vector<History>& histories, bool failures) {
  for (std::size_t m = 0; m < histories.size(); ++m) {
    const std::string who = "survivor " + std::to_string(m) + ", op ";
    if (histories[m].size() != histories[0].size()) return who + "count differs";
    for (std::size_t k = 0; k < histories[m].size(); ++k) {
      const Seen &seen = histories[m][k], &first = histories[0][k];
      const std::string where = who + std::to_string(k) + ": ";
      if (!seen.wrong.empty()) return where + seen.wrong;
      if (seen.code != Code::kOk && !(failures && seen.code == Code::kViewChanged))
        return where + code_name(seen.code) + " " + seen.detail;
      if (seen.code != first.code)
        return where + code_name(seen.code) + " here, " + code_name(first.code) + " elsewhere";
      if (seen.epoch != first.epoch) return where + "epochs differ";
      if (seen.contributors != first.contributors) return where + "contributors differ";
    }
  }
  return {};
}

}  // namespace regroup::conformance

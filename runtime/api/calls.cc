#include "runtime/api/calls.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/algo/plan.h"
#include "runtime/api/reach.h"
#include "runtime/exec/message.h"

namespace regroup::calls {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 40;

Error invalid(std::string why) { return {Code::kInvalid, std::move(why)}; }

Status check(DataType type, ReduceOp op) {
  if (static_cast<int>(type) >= kDataTypeCount) return invalid("unknown data type");
  if (static_cast<int>(op) >= kReduceOpCount) return invalid("unknown reduction");
  return {};
}

Status over_the_bound(std::size_t count) { return invalid("count " + std::to_string(count) + " is over the bound"); }

Status check(const Site& site, const Uniform& call) {
  if (Status s = check(call.type, call.op); !s) return s;
  const bool over = call.count > kMaxBytes / size_of(call.type) / std::max<std::size_t>(site.view->size(), 1);
  return over ? over_the_bound(call.count) : Status{};
}

Status check(const Message& call) {
  if (Status s = check(call.type, ReduceOp::kSum); !s) return s;
  return call.count > kMaxBytes / size_of(call.type) ? over_the_bound(call.count) : Status{};
}

// Fields that every kind has.
ExecOp begin(const Site& site, OpKind kind, const void* in, void* out, DataType type, const OpOptions& options) {
  ExecOp op;
  op.desc.kind = kind;
  op.desc.type = type;
  if (!site.explicit_marks || options.mark) op.desc.flags |= OpDesc::kMark;
  if (op.desc.shape()) op.desc.seen_epoch = site.seen_epoch;
  op.in = in;
  op.out = out;
  return op;
}

// Of what is used of the two.
Status both_readable(const void* in, const void* out) {
  if (Status s = regroup::readable(in, "input"); !s) return s;
  return regroup::readable(out, "output");
}

Status premultiply(ExecOp& op, const OpOptions& options) {
  if (options.premultiply == nullptr) return {};
  if (!op.desc.reduces()) return invalid("premultiply is of reductions only");
  if (op.desc.reduce != ReduceOp::kSum) return invalid("premultiply is of sums only");
  op.desc.flags |= OpDesc::kScaled;
  std::memcpy(op.scalar.data(), options.premultiply, size_of(op.desc.type));
  return {};
}

bool is_self(const ViewInfo& view, MemberId id) { return view.self < view.size() && view.members[view.self] == id; }

// How many blocks of `count` my input and output hold.
std::pair<std::size_t, std::size_t> blocks(const OpDesc& desc, const ViewInfo& view, bool root) {
  const std::size_t n = std::max<std::size_t>(view.size(), 1);
  switch (desc.kind) {
    case OpKind::kAllGather: return {1, n};
    case OpKind::kReduce: return {1, root ? 1 : 0};
    case OpKind::kReduceScatter: return {n, 1};
    case OpKind::kAllToAll: return {n, n};
    case OpKind::kGather: return {1, root ? n : 0};
    case OpKind::kScatter: return {root ? n : 0, 1};
    default: return {1, 1};
  }
}

// Blocks as spans in bytes, one a member of the view. nullopt: overflow, or tables that do not fit the view.
std::optional<std::vector<algo::Span>> spans(const Blocks& blocks, std::size_t n, std::size_t size) {
  if (blocks.counts.size() != n || (!blocks.at.empty() && blocks.at.size() != n)) return std::nullopt;
  std::vector<algo::Span> list(n);
  std::size_t packed = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t at = blocks.at.empty() ? packed : blocks.at[i], count = blocks.counts[i];
    if (at > kMaxBytes / size || count > kMaxBytes / size - at) return std::nullopt;
    list[i] = {at * size, count * size};
    packed += count;
  }
  return list;
}

bool any(const std::vector<algo::Span>& list) {
  return std::any_of(list.begin(), list.end(), [](const algo::Span& s) { return s.bytes != 0; });
}

std::vector<algo::Span> used(std::vector<algo::Span> list) {
  std::erase_if(list, [](const algo::Span& s) { return s.bytes == 0; });
  return list;
}

// Of a told call, in a view that its caller has seen.
Result<algo::Tables> tables_of(const Site& site, const Told& call) {
  const std::size_t n = site.view->size(), size = size_of(call.type);
  const bool root = is_self(*site.view, call.root);
  enum class Which { kAll, kRoot, kNone };  // for or from everybody; the root, in one block; nobody
  const auto table = [&](const Blocks& blocks, Which which, std::vector<algo::Span>& into) -> Status {
    if (which == Which::kAll) {
      auto list = spans(blocks, n, size);
      if (!list)
        return invalid("a table does not have one block for each of the " + std::to_string(n) +
                       " members, or a block is over the bound");
      into = std::move(*list);
      return {};
    }
    into.assign(n, {});
    if (which == Which::kNone || blocks.counts.empty()) return {};
    if (blocks.counts[0] > kMaxBytes / size) return invalid("a count is over the bound");
    for (std::size_t i = 0; i < n; ++i)
      if (site.view->members[i] == call.root) into[i] = {0, blocks.counts[0] * size};
    return {};
  };
  const auto which = [&](OpKind rooted, OpKind other) {
    if (call.kind != rooted) return call.kind == other ? Which::kRoot : Which::kAll;
    return root ? Which::kAll : Which::kNone;
  };
  algo::Tables tables;
  if (Status s = table(call.give, which(OpKind::kScatterV, OpKind::kGatherV), tables.give); !s) return s.error();
  if (Status s = table(call.take, which(OpKind::kGatherV, OpKind::kScatterV), tables.take); !s) return s.error();
  return tables;
}

}  // namespace

Result<Touched> touched(const Site& site, const Uniform& call) {
  if (Status s = check(site, call); !s) return s.error();
  OpDesc desc;
  desc.kind = call.kind;
  const bool root = is_self(*site.view, call.root);
  auto [in, out] = blocks(desc, *site.view, root);
  if (call.kind == OpKind::kBroadcast) (root ? out : in) = 0;  // one buffer
  const std::size_t bytes = call.count * size_of(call.type);
  return Touched{used({{0, in * bytes}}), used({{0, out * bytes}})};
}

Result<Touched> touched(const Site& site, const Agreed& call) {
  if (Status s = check(call.type, call.op); !s) return s.error();
  const auto list = spans({call.counts, {}}, call.counts.size(), size_of(call.type));
  if (!list) return invalid("a count is over the bound");
  const std::size_t mine = site.view->self < list->size() ? (*list)[site.view->self].bytes : 0;
  const std::size_t all = list->empty() ? 0 : list->back().at + list->back().bytes;
  const bool gathers = call.kind == OpKind::kAllGatherV;
  return Touched{used({{0, gathers ? mine : all}}), used({{0, gathers ? all : mine}})};
}

Result<Touched> touched(const Site& site, const Told& call) {
  if (Status s = check(call.type, ReduceOp::kSum); !s) return s.error();
  Result<algo::Tables> tables = tables_of(site, call);
  if (!tables) return tables.error();
  return Touched{used(std::move(tables->give)), used(std::move(tables->take))};
}

Result<Touched> touched(const Site&, const Pair& call) {
  if (Status s = check(call.type, ReduceOp::kSum); !s) return s.error();
  const std::size_t size = size_of(call.type);
  if (std::max(call.in_count, call.out_count) > kMaxBytes / size) return invalid("a count is over the bound");
  return Touched{used({{0, call.in_count * size}}), used({{0, call.out_count * size}})};
}

Result<Touched> touched(const Site&, const Message& call) {
  if (Status s = check(call); !s) return s.error();
  const std::size_t bytes = call.count * size_of(call.type);
  return Touched{used({{0, call.send ? bytes : 0}}), used({{0, call.send ? 0 : bytes}})};
}

Result<ExecOp> make(const Site& site, const Uniform& call, const OpOptions& options) {
  if (Status s = check(site, call); !s) return s.error();
  ExecOp op = begin(site, call.kind, call.in, call.out, call.type, options);
  op.desc.reduce = call.op;
  op.desc.root = op.desc.rooted() ? call.root.replica : 0;
  op.desc.count = call.count;
  const auto [in, out] = blocks(op.desc, *site.view, is_self(*site.view, call.root));
  if (call.count != 0 && ((in != 0 && call.in == nullptr) || (out != 0 && call.out == nullptr)))
    return invalid("buffer is null");
  if (call.count != 0)
    if (Status s = both_readable(in != 0 ? call.in : nullptr, out != 0 ? call.out : nullptr); !s) return s.error();
  if (Status s = premultiply(op, options); !s) return s.error();
  if (options.output_scratch && call.kind != OpKind::kBarrier) {
    const std::size_t block = op.desc.bytes();
    const auto a = reinterpret_cast<std::uintptr_t>(call.in), b = reinterpret_cast<std::uintptr_t>(call.out);
    if (call.kind != OpKind::kBroadcast && a < b + out * block && b < a + in * block)
      return invalid("output_scratch: the output overlaps the input");
    op.desc.flags |= OpDesc::kOutputScratch;
  }
  return op;
}

Result<std::vector<ExecOp>> cut(ExecOp whole, const OpOptions& options) {
  const OpKind kind = whole.desc.kind;
  if (whole.message || (kind != OpKind::kAllReduce && kind != OpKind::kReduce && kind != OpKind::kBroadcast))
    return invalid("cut_bytes is of all_reduce, reduce and broadcast only");
  const std::size_t unit = size_of(whole.desc.type), most = std::max<std::size_t>(options.cut_bytes / unit, 1);
  const std::size_t count = whole.desc.count;
  std::vector<ExecOp> pieces;
  for (std::size_t at = 0; at < count || pieces.empty(); at += most) {
    ExecOp piece = whole;
    piece.call_bytes = whole.desc.bytes();
    piece.desc.count = std::min(most, count - at);
    if (piece.in != nullptr) piece.in = static_cast<const std::byte*>(whole.in) + at * unit;
    if (piece.out != nullptr) piece.out = static_cast<std::byte*>(whole.out) + at * unit;
    if (count - at > most) piece.desc.flags = static_cast<std::uint8_t>(piece.desc.flags & ~OpDesc::kMark);
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

Result<ExecOp> make(const Site& site, const Agreed& call, const OpOptions& options) {
  if (Status s = check(call.type, call.op); !s) return s.error();
  ExecOp op = begin(site, call.kind, call.in, call.out, call.type, options);
  op.desc.reduce = call.op;
  auto tables = std::make_shared<algo::Tables>();
  tables->counts.assign(call.counts.begin(), call.counts.end());
  const auto list = spans({call.counts, {}}, call.counts.size(), size_of(call.type));
  if (!list) return invalid("a count is over the bound");
  const bool now = site.view->epoch == site.seen_epoch;  // else the op fails with kViewChanged, whatever its table
  if (now && call.counts.size() != site.view->size())
    return invalid(std::to_string(call.counts.size()) + " counts for a view of " + std::to_string(site.view->size()));
  if (any(*list)) {
    const bool gathers = call.kind == OpKind::kAllGatherV;
    const bool mine = site.view->self < list->size() && (*list)[site.view->self].bytes != 0;
    if ((call.in == nullptr && (mine || !gathers)) || (call.out == nullptr && (mine || gathers)))
      return invalid("buffer is null");
    if (Status s = both_readable(mine || !gathers ? call.in : nullptr, mine || gathers ? call.out : nullptr); !s) return s.error();
  }
  op.desc.count = algo::digest_of(tables->counts);
  op.tables = std::move(tables);
  if (Status s = premultiply(op, options); !s) return s.error();
  return op;
}

Result<ExecOp> make(const Site& site, const Told& call, const OpOptions& options) {
  if (Status s = check(call.type, ReduceOp::kSum); !s) return s.error();
  if (options.premultiply != nullptr) return invalid("premultiply is of reductions only");
  ExecOp op = begin(site, call.kind, call.in, call.out, call.type, options);
  op.desc.root = op.desc.rooted() ? call.root.replica : 0;
  algo::Tables tables;
  if (site.view->epoch == site.seen_epoch) {
    Result<algo::Tables> told = tables_of(site, call);
    if (!told) return told.error();
    tables = std::move(*told);
    if ((any(tables.give) && call.in == nullptr) || (any(tables.take) && call.out == nullptr)) return invalid("buffer is null");
    if (Status s = both_readable(any(tables.give) ? call.in : nullptr, any(tables.take) ? call.out : nullptr); !s) return s.error();
  }
  op.tables = std::make_shared<algo::Tables>(std::move(tables));
  return op;
}

Result<ExecOp> make(const Site& site, const Pair& call, const OpOptions& options) {
  std::vector<std::size_t> give(site.view->size(), 0), take(site.view->size(), 0), none(site.view->size(), 0);
  const auto put = [&](std::vector<std::size_t>& counts, MemberId member, std::size_t count) {
    if (count == 0) return true;
    for (std::size_t i = 0; i < counts.size(); ++i)
      if (site.view->members[i] == member) return counts[i] = count, true;
    return site.view->epoch != site.seen_epoch;  // else the op fails with kViewChanged
  };
  if (!put(give, call.to, call.in_count)) return invalid("member " + to_string(call.to) + " is not in the view");
  if (!put(take, call.from, call.out_count)) return invalid("member " + to_string(call.from) + " is not in the view");
  return make(site, Told{OpKind::kSendRecv, call.in, {give, none}, call.out, {take, none}, call.type}, options);
}

Result<ExecOp> make(const Site& site, const Message& call, const OpOptions& options) {
  if (Status s = check(call); !s) return s.error();
  if (options.premultiply != nullptr) return invalid("premultiply is of reductions only");
  if (call.count != 0 && (call.send ? call.in == nullptr : call.out == nullptr)) return invalid("buffer is null");
  if (call.count != 0)
    if (Status s = both_readable(call.send ? call.in : nullptr, call.send ? nullptr : call.out); !s) return s.error();
  if (call.peer.replica >= site.world_size || call.peer.rank != 0)
    return invalid("no member " + to_string(call.peer) + " can be");
  if (is_self(*site.view, call.peer)) return invalid("a message to oneself");
  auto message = std::make_shared<PairMessage>();
  message->send = call.send;
  message->peer = call.peer;
  message->type = call.type;
  message->count = call.count;
  message->in = static_cast<const std::byte*>(call.in);
  message->out = static_cast<std::byte*>(call.out);
  message->seen_epoch = site.seen_epoch;
  ExecOp op;
  op.plan = "pair";
  op.message = std::move(message);
  return op;
}

}  // namespace regroup::calls

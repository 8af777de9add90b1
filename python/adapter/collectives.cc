// Collectives of c10d as ops of the public API: element types, shapes, what the core does not reduce.
#include <algorithm>
#include <cstring>
#include <optional>

#include "python/adapter/backend.h"

namespace regroup::python {
namespace {

using c10d::OpType;
using RedOp = c10d::ReduceOp;

// How the core sees a tensor's elements. Bytes: nothing is computed on them.
struct Elements {
  std::size_t count;
  DataType type;
};

Elements as_bytes(const at::Tensor& t) { return {t.nbytes(), DataType::kU8}; }

std::optional<DataType> core_type(at::ScalarType type) {
  switch (type) {
    case at::kDouble: return DataType::kF64;
    case at::kFloat: return DataType::kF32;
    case at::kHalf: return DataType::kF16;
    case at::kBFloat16: return DataType::kBF16;
    case at::kChar: return DataType::kI8;
    case at::kByte: return DataType::kU8;
    case at::kInt: return DataType::kI32;
    case at::kUInt32: return DataType::kU32;
    case at::kLong: return DataType::kI64;
    case at::kUInt64: return DataType::kU64;
    default: return std::nullopt;
  }
}

// A reduction that the core does on its own, or none: then it is folded here.
struct Fold {
  DataType type;
  std::size_t per_element;  // complex numbers are two
  ReduceOp op;
};

std::optional<Fold> core_fold(const at::Tensor& t, const RedOp& op) {
  const RedOp::RedOpType kind = op;
  if (t.is_complex()) {
    TORCH_CHECK_VALUE(
        kind != RedOp::MIN && kind != RedOp::MAX && kind != RedOp::BAND && kind != RedOp::BOR && kind != RedOp::BXOR,
        "regroup: complex numbers have no order and no bits: SUM, AVG, PRODUCT or PREMUL_SUM");
    const auto real = core_type(c10::toRealValueType(t.scalar_type()));
    if (kind == RedOp::PRODUCT || !real) return std::nullopt;
    return Fold{*real, 2, kind == RedOp::AVG ? ReduceOp::kAvg : ReduceOp::kSum};
  }
  if (t.scalar_type() == at::kBool) {
    TORCH_CHECK_VALUE(kind != RedOp::AVG && kind != RedOp::PREMUL_SUM, "regroup: bool has no average");
    if (kind == RedOp::BXOR) return std::nullopt;
    const bool any = kind == RedOp::SUM || kind == RedOp::MAX || kind == RedOp::BOR;
    return Fold{DataType::kU8, 1, any ? ReduceOp::kMax : ReduceOp::kMin};
  }
  const bool bits = kind == RedOp::BAND || kind == RedOp::BOR || kind == RedOp::BXOR;
  TORCH_CHECK_VALUE(!bits || !t.is_floating_point(), "regroup: ", t.scalar_type(), " has no bitwise reduction");
  const auto type = core_type(t.scalar_type());
  if (bits || !type) return std::nullopt;
  switch (kind) {
    case RedOp::SUM:
    case RedOp::PREMUL_SUM: return Fold{*type, 1, ReduceOp::kSum};
    case RedOp::AVG: return Fold{*type, 1, ReduceOp::kAvg};
    case RedOp::PRODUCT: return Fold{*type, 1, ReduceOp::kProd};
    case RedOp::MIN: return Fold{*type, 1, ReduceOp::kMin};
    case RedOp::MAX: return Fold{*type, 1, ReduceOp::kMax};
    default: TORCH_CHECK_VALUE(false, "regroup: unknown reduction");
  }
}

double factor_of(const RedOp& op) {
  const auto* s = dynamic_cast<const c10d::PreMulSumSupplement*>(op.supplement_.get());
  TORCH_CHECK_VALUE(s != nullptr, "regroup: PREMUL_SUM without its factor");
  return s->tensor_factor.defined() ? s->tensor_factor.item<double>() : s->double_factor;
}

// Blocks of members, folded with torch in member order.
at::Tensor fold(const at::Tensor& blocks, const RedOp& op, int contributors) {
  at::Tensor sum = blocks[0].clone();
  const RedOp::RedOpType kind = op;
  for (int i = 1; i < contributors; ++i) {
    const at::Tensor next = blocks[i];
    switch (kind) {
      case RedOp::SUM:
      case RedOp::AVG:
      case RedOp::PREMUL_SUM: sum.add_(next); break;
      case RedOp::PRODUCT: sum.mul_(next); break;
      case RedOp::MIN: sum = at::minimum(sum, next); break;
      case RedOp::MAX: sum = at::maximum(sum, next); break;
      case RedOp::BAND: sum.bitwise_and_(next); break;
      case RedOp::BOR: sum.bitwise_or_(next); break;
      case RedOp::BXOR: sum.bitwise_xor_(next); break;
      default: break;
    }
  }
  if (kind == RedOp::PREMUL_SUM) sum.mul_(factor_of(op));
  if (kind == RedOp::AVG)
    sum.is_floating_point() || sum.is_complex() ? sum.div_(contributors) : sum.div_(contributors, "trunc");
  return sum;
}

at::Tensor flat_like(const at::Tensor& t, std::int64_t blocks) { return at::empty({blocks, t.numel()}, t.options()); }

// Sums whose caller divides by the size: scaled to what the contributors make.
void scale_to_size(at::Tensor tensor, std::size_t contributors, int size) {
  if (contributors != 0 && static_cast<int>(contributors) != size)
    tensor.mul_(static_cast<double>(size) / static_cast<double>(contributors));
}

void same(const at::Tensor& a, const at::Tensor& b, const char* what) {
  TORCH_CHECK_VALUE(a.scalar_type() == b.scalar_type(), "regroup: ", what, ": ", a.scalar_type(), " and ",
                    b.scalar_type());
}
void same_size(const at::Tensor& a, const at::Tensor& b, const char* what) {
  same(a, b, what);
  TORCH_CHECK_VALUE(a.numel() == b.numel(), "regroup: ", what, ": tensors of ", a.numel(), " and ", b.numel(),
                    " elements");
}
void contiguous(const at::Tensor& t, const char* what) {
  TORCH_CHECK_VALUE(t.is_contiguous(), "regroup: ", what, ": the tensor must be contiguous");
}
const Tensors& list(const std::vector<Tensors>& lists, int size, const char* what) {
  TORCH_CHECK_VALUE(lists.size() == 1 && static_cast<int>(lists[0].size()) == size, "regroup: ", what, ": one list of ",
                    size, " tensors is needed");
  return lists[0];
}

}  // namespace

void check_tensor(const at::Tensor& t, const char* what) {
  TORCH_CHECK_VALUE(t.defined(), "regroup: ", what, ": an undefined tensor");
  TORCH_CHECK_VALUE(t.layout() == at::kStrided, "regroup: ", what, ": sparse tensors are not supported");
  TORCH_CHECK_VALUE(t.device().is_cpu(), "regroup: ", what, ": a tensor on ", t.device(),
                    ", only host memory is supported");
  TORCH_CHECK_VALUE(t.is_contiguous(t.suggest_memory_format()), "regroup: ", what, ": the tensor must be contiguous");
}

const at::Tensor& one(const Tensors& tensors, const char* what) {
  TORCH_CHECK_VALUE(tensors.size() == 1, "regroup: ", what, ": one tensor is needed, not ", tensors.size());
  check_tensor(tensors[0], what);
  return tensors[0];
}

// root < 0: everybody gets it.
void RegroupBackend::add_all_reduce(const Work_& work, const at::Tensor& tensor, const RedOp& op, int root,
                                    After after) {
  const auto f = core_fold(tensor, op);
  if (!f) return add_folded(work, tensor, op, root, std::move(after));
  auto o = std::make_shared<StreamOp>();
  o->after = std::move(after);
  at::Tensor factor;
  if (op == RedOp::PREMUL_SUM)
    factor = at::scalar_tensor(factor_of(op), tensor.options().dtype(c10::toRealValueType(tensor.scalar_type())));
  o->root = root;
  o->submit = [tensor, f = *f, factor, root](Group& g, const ViewInfo&) {
    OpOptions options;
    if (factor.defined()) options.premultiply = factor.const_data_ptr();
    const std::size_t count = static_cast<std::size_t>(tensor.numel()) * f.per_element;
    void* p = tensor.data_ptr();
    if (root < 0) return g.all_reduce_async(p, p, count, f.type, f.op, options);
    return g.reduce_async(p, p, count, f.type, f.op, {static_cast<std::uint32_t>(root), 0}, options);
  };
  if (config_.fixed_divisor && f->op == ReduceOp::kSum && (tensor.is_floating_point() || tensor.is_complex()))
    o->finish = [tensor, size = size_](const Outcome& done) { scale_to_size(tensor, done.contributors(), size); };
  add(work, std::move(o));
}

void RegroupBackend::add_folded(const Work_& work, const at::Tensor& tensor, const RedOp& op, int root, After after) {
  const at::Tensor blocks = flat_like(tensor, size_);
  auto o = std::make_shared<StreamOp>();
  o->after = std::move(after);
  o->shape = true;
  o->root = root;
  o->submit = [tensor, blocks](Group& g, const ViewInfo&) {
    const auto [count, type] = as_bytes(tensor);
    return g.all_gather_async(tensor.data_ptr(), blocks.data_ptr(), count, type);
  };
  o->finish = [tensor, blocks, op, root, self = rank_](const Outcome& done) {
    if (root >= 0 && root != self) return;
    at::Tensor flat = tensor.as_strided({tensor.numel()}, {1});  // dense: the order in memory
    flat.copy_(fold(blocks, op, static_cast<int>(done.contributors())));
  };
  add(work, std::move(o));
}

WorkPtr RegroupBackend::allreduce(Tensors& tensors, const c10d::AllreduceOptions& opts) {
  const at::Tensor& tensor = one(tensors, "all_reduce");
  const Work_ work = make(OpType::ALLREDUCE, "regroup:all_reduce", tensors, tensors, opts.timeout);
  add_all_reduce(work, tensor, opts.reduceOp, -1);
  return work;
}

WorkPtr RegroupBackend::allreduce_coalesced(Tensors& tensors, const c10d::AllreduceCoalescedOptions& opts) {
  TORCH_CHECK_VALUE(!tensors.empty(), "regroup: all_reduce_coalesced: no tensors");
  for (const at::Tensor& t : tensors) check_tensor(t, "all_reduce_coalesced");
  const Work_ work = make(OpType::ALLREDUCE_COALESCED, "regroup:all_reduce", tensors, tensors, opts.timeout);
  for (const at::Tensor& t : tensors) add_all_reduce(work, t, opts.reduceOp, -1);
  return work;
}

WorkPtr RegroupBackend::reduce(Tensors& tensors, const c10d::ReduceOptions& opts) {
  const at::Tensor& tensor = one(tensors, "reduce");
  check_rank(static_cast<int>(opts.rootRank), "reduce");
  const Work_ work = make(OpType::REDUCE, "regroup:reduce", tensors, tensors, opts.timeout);
  add_all_reduce(work, tensor, opts.reduceOp, static_cast<int>(opts.rootRank));
  return work;
}

WorkPtr RegroupBackend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& opts) {
  const at::Tensor& tensor = one(tensors, "broadcast");
  const int root = static_cast<int>(opts.rootRank);
  check_rank(root, "broadcast");
  const Work_ work = make(OpType::BROADCAST, "regroup:broadcast", tensors, tensors, opts.timeout);
  auto o = std::make_shared<StreamOp>();
  const bool stand_in = config_.stand_in_root;
  o->root = stand_in ? -1 : root;
  o->shape = stand_in;  // the view must be the same at all when the root is chosen
  o->submit = [tensor, root, stand_in](Group& g, const ViewInfo& view) {
    MemberId from{static_cast<std::uint32_t>(root), 0};
    if (stand_in && std::find(view.members.begin(), view.members.end(), from) == view.members.end())
      from = view.members[0];
    return g.broadcast_async(tensor.data_ptr(), tensor.nbytes(), DataType::kU8, from);
  };
  add(work, std::move(o));
  return work;
}

// `out`: contiguous, size() blocks of `in`.
void RegroupBackend::add_all_gather(const Work_& work, at::Tensor out, const at::Tensor& in, After after) {
  auto o = std::make_shared<StreamOp>();
  o->after = std::move(after);
  const std::size_t block = in.nbytes();
  auto packed = std::make_shared<at::Tensor>();
  o->shape = true;
  o->submit = [in, out, packed, block, size = size_](Group& g, const ViewInfo& view) {
    void* to = out.data_ptr();
    if (static_cast<int>(view.size()) != size) {  // members' blocks in order; they are put to their ranks below
      *packed = at::empty({static_cast<std::int64_t>(view.size() * block)}, at::kByte);
      to = packed->data_ptr();
    } else {
      *packed = at::Tensor();
    }
    return g.all_gather_async(in.data_ptr(), to, block, DataType::kU8);
  };
  o->finish = [out, packed, block](const Outcome& done) {
    if (!packed->defined()) return;
    auto* to = static_cast<std::byte*>(out.data_ptr());
    std::memset(to, 0, out.nbytes());
    const auto* from = static_cast<const std::byte*>(packed->data_ptr());
    for (std::size_t i = 0; i < done.view->size(); ++i)
      std::memcpy(to + done.view->members[i].replica * block, from + i * block, block);
  };
  add(work, std::move(o));
}

WorkPtr RegroupBackend::allgather(std::vector<Tensors>& outs, Tensors& ins, const c10d::AllgatherOptions& opts) {
  const at::Tensor& in = one(ins, "all_gather");
  const Tensors& out = list(outs, size_, "all_gather");
  // Blocks of different sizes are broadcast one by one, as other backends do.
  for (const at::Tensor& t : out) {
    check_tensor(t, "all_gather");
    same(t, in, "all_gather");
  }
  const Work_ work = make(OpType::ALLGATHER, "regroup:all_gather", ins, out, opts.timeout);
  const bool even = std::all_of(out.begin(), out.end(), [&](const at::Tensor& t) { return t.numel() == in.numel(); });
  if (!even) {
    same_size(out[static_cast<std::size_t>(rank_)], in, "all_gather");
    for (int r = 0; r < size_; ++r) {
      const at::Tensor t = out[static_cast<std::size_t>(r)];
      if (r == rank_) t.copy_(in.view_as(t));
      auto o = std::make_shared<StreamOp>();
      o->root = r;
      o->submit = [t, r](Group& g, const ViewInfo&) {
        return g.broadcast_async(t.data_ptr(), t.nbytes(), DataType::kU8, {static_cast<std::uint32_t>(r), 0});
      };
      add(work, std::move(o));
    }
    return work;
  }
  const at::Tensor flat = flat_like(in, size_);
  add_all_gather(work, flat, in, [flat, out] {
    for (std::size_t r = 0; r < out.size(); ++r) {
      at::Tensor t = out[r];
      t.as_strided({t.numel()}, {1}).copy_(flat[static_cast<std::int64_t>(r)]);
    }
  });
  return work;
}

WorkPtr RegroupBackend::_allgather_base(at::Tensor& out, at::Tensor& in, const c10d::AllgatherOptions& opts) {
  check_tensor(in, "all_gather_into_tensor");
  check_tensor(out, "all_gather_into_tensor");
  contiguous(in, "all_gather_into_tensor");
  contiguous(out, "all_gather_into_tensor");
  same(out, in, "all_gather_into_tensor");
  TORCH_CHECK_VALUE(
      out.numel() == in.numel() * size_,
      "regroup: all_gather_into_tensor: output tensor size must be equal to world_size times input tensor size");
  const Work_ work = make(OpType::_ALLGATHER_BASE, "regroup:_all_gather_base", {in}, {out}, opts.timeout);
  add_all_gather(work, out, in);
  return work;
}

WorkPtr RegroupBackend::allgather_coalesced(std::vector<Tensors>& outs, Tensors& ins,
                                            const c10d::AllgatherOptions& opts) {
  TORCH_CHECK_VALUE(static_cast<int>(outs.size()) == size_, "regroup: all_gather_coalesced: ", size_,
                    " lists are needed");
  Tensors all;
  for (const Tensors& t : outs) {
    TORCH_CHECK_VALUE(t.size() == ins.size(), "regroup: all_gather_coalesced: lists as long as the input are needed");
    all.insert(all.end(), t.begin(), t.end());
  }
  for (std::size_t i = 0; i < ins.size(); ++i) {
    check_tensor(ins[i], "all_gather_coalesced");
    for (const Tensors& t : outs) same_size(t[i], ins[i], "all_gather_coalesced");
  }
  const Work_ work = make(OpType::ALLGATHER_COALESCED, "regroup:all_gather", ins, all, opts.timeout);
  for (std::size_t i = 0; i < ins.size(); ++i) {
    const at::Tensor flat = flat_like(ins[i], size_);
    add_all_gather(work, flat, ins[i].contiguous(), [flat, outs, i] {
      for (std::size_t r = 0; r < outs.size(); ++r) {
        at::Tensor t = outs[r][i];
        t.copy_(flat[static_cast<std::int64_t>(r)].view_as(t));
      }
    });
  }
  return work;
}

WorkPtr RegroupBackend::allgather_into_tensor_coalesced(Tensors& outs, Tensors& ins,
                                                        const c10d::AllgatherOptions& opts) {
  TORCH_CHECK_VALUE(outs.size() == ins.size(), "regroup: all_gather_into_tensor_coalesced: lists of different lengths");
  for (std::size_t i = 0; i < ins.size(); ++i) {
    check_tensor(ins[i], "all_gather_into_tensor_coalesced");
    contiguous(ins[i], "all_gather_into_tensor_coalesced");
    contiguous(outs[i], "all_gather_into_tensor_coalesced");
    TORCH_CHECK_VALUE(outs[i].numel() == ins[i].numel() * size_, "regroup: all_gather_into_tensor_coalesced: sizes");
  }
  const Work_ work = make(OpType::COALESCED, "regroup:all_gather_into_tensor_coalesced", ins, outs, opts.timeout);
  for (std::size_t i = 0; i < ins.size(); ++i) add_all_gather(work, outs[i], ins[i]);
  return work;
}

WorkPtr RegroupBackend::gather(std::vector<Tensors>& outs, Tensors& ins, const c10d::GatherOptions& opts) {
  const at::Tensor& in = one(ins, "gather");
  const int root = static_cast<int>(opts.rootRank);
  check_rank(root, "gather");
  Tensors out;
  at::Tensor flat;
  if (root == rank_) {
    out = list(outs, size_, "gather");
    for (const at::Tensor& t : out) same_size(t, in, "gather");
    flat = flat_like(in, size_);
  } else {
    TORCH_CHECK_VALUE(outs.empty() || outs[0].empty(), "regroup: gather: only the root gives outputs");
  }
  const Work_ work = make(OpType::GATHER, "regroup:gather", ins, out, opts.timeout);
  auto o = std::make_shared<StreamOp>();
  o->shape = true;
  o->root = root;
  o->submit = [in, flat, root](Group& g, const ViewInfo& view) {
    const std::size_t block = in.nbytes();
    std::vector<std::size_t> counts, at;
    if (flat.defined()) {
      std::memset(flat.data_ptr(), 0, flat.nbytes());
      for (const MemberId m : view.members) counts.push_back(block), at.push_back(m.replica * block);
    }
    return g.gather_v_async(in.data_ptr(), block, flat.defined() ? flat.data_ptr() : nullptr, counts, at, DataType::kU8,
                            {static_cast<std::uint32_t>(root), 0});
  };
  o->after = [flat, out] {
    for (std::size_t r = 0; r < out.size(); ++r) {
      at::Tensor t = out[r];
      t.copy_(flat[static_cast<std::int64_t>(r)].view_as(t));
    }
  };
  add(work, std::move(o));
  return work;
}

WorkPtr RegroupBackend::scatter(Tensors& outs, std::vector<Tensors>& ins, const c10d::ScatterOptions& opts) {
  const at::Tensor& out = one(outs, "scatter");
  const int root = static_cast<int>(opts.rootRank);
  check_rank(root, "scatter");
  at::Tensor flat;
  if (root == rank_) {
    const Tensors& in = list(ins, size_, "scatter");
    flat = flat_like(out, size_);
    for (int r = 0; r < size_; ++r) {
      const at::Tensor& t = in[static_cast<std::size_t>(r)];
      check_tensor(t, "scatter");
      same_size(t, out, "scatter");
      flat[r].copy_(t.reshape({-1}));
    }
  } else {
    TORCH_CHECK_VALUE(ins.empty() || ins[0].empty(), "regroup: scatter: only the root gives inputs");
  }
  const Work_ work = make(OpType::SCATTER, "regroup:scatter", root == rank_ ? ins[0] : Tensors{}, outs, opts.timeout);
  auto o = std::make_shared<StreamOp>();
  o->shape = true;
  o->root = root;
  o->submit = [out, flat, root](Group& g, const ViewInfo& view) {
    const std::size_t block = out.nbytes();
    std::vector<std::size_t> counts, at;
    if (flat.defined())
      for (const MemberId m : view.members) counts.push_back(block), at.push_back(m.replica * block);
    return g.scatter_v_async(flat.defined() ? flat.data_ptr() : nullptr, counts, at, out.data_ptr(), block,
                             DataType::kU8, {static_cast<std::uint32_t>(root), 0});
  };
  add(work, std::move(o));
  return work;
}

// `in`: contiguous, size() blocks of `out`.
void RegroupBackend::add_reduce_scatter(const Work_& work, at::Tensor out, at::Tensor in, const RedOp& op) {
  const auto f = core_fold(in, op);
  if (!f || in.scalar_type() == at::kBool) {  // folded whole, then cut
    const at::Tensor whole = in.clone();
    return add_all_reduce(work, whole, op, -1, [whole, out, rank = rank_] {
      at::Tensor(out)
          .as_strided({out.numel()}, {1})
          .copy_(whole.reshape({-1}).narrow(0, rank * out.numel(), out.numel()));
    });
  }
  at::Tensor factor;
  if (op == RedOp::PREMUL_SUM)
    factor = at::scalar_tensor(factor_of(op), in.options().dtype(c10::toRealValueType(in.scalar_type())));
  auto packed = std::make_shared<at::Tensor>();
  auto o = std::make_shared<StreamOp>();
  o->shape = true;
  o->submit = [in, out, packed, factor, f = *f, size = size_](Group& g, const ViewInfo& view) {
    OpOptions options;
    if (factor.defined()) options.premultiply = factor.const_data_ptr();
    const std::size_t count = static_cast<std::size_t>(out.numel()) * f.per_element, block = out.nbytes();
    const void* from = in.data_ptr();
    if (static_cast<int>(view.size()) != size) {  // without the blocks of who is lost
      *packed = at::empty({static_cast<std::int64_t>(view.size() * block)}, at::kByte);
      auto* to = static_cast<std::byte*>(packed->data_ptr());
      for (std::size_t i = 0; i < view.size(); ++i)
        std::memcpy(to + i * block, static_cast<const std::byte*>(in.data_ptr()) + view.members[i].replica * block,
                    block);
      from = to;
    }
    return g.reduce_scatter_async(from, out.data_ptr(), count, f.type, f.op, options);
  };
  if (config_.fixed_divisor && f->op == ReduceOp::kSum && (in.is_floating_point() || in.is_complex()))
    o->finish = [out, size = size_](const Outcome& done) { scale_to_size(out, done.contributors(), size); };
  add(work, std::move(o));
}

WorkPtr RegroupBackend::reduce_scatter(Tensors& outs, std::vector<Tensors>& ins,
                                       const c10d::ReduceScatterOptions& opts) {
  const at::Tensor& out = one(outs, "reduce_scatter");
  const Tensors& in = list(ins, size_, "reduce_scatter");
  for (const at::Tensor& t : in) check_tensor(t, "reduce_scatter");
  const bool even = std::all_of(in.begin(), in.end(), [&](const at::Tensor& t) { return t.numel() == out.numel(); });
  TORCH_CHECK_VALUE(in[static_cast<std::size_t>(rank_)].numel() == out.numel(),
                    "regroup: reduce_scatter: the output is not as large as this rank's input");
  const Work_ work = make(OpType::REDUCE_SCATTER, "regroup:reduce_scatter", in, outs, opts.timeout);
  if (even) {
    const at::Tensor flat = flat_like(out, size_);
    for (int r = 0; r < size_; ++r) {
      same(in[static_cast<std::size_t>(r)], out, "reduce_scatter");
      flat[r].copy_(in[static_cast<std::size_t>(r)].reshape({-1}));
    }
    add_reduce_scatter(work, out, flat, opts.reduceOp);
    return work;
  }
  for (int r = 0; r < size_; ++r) {  // blocks of different sizes: one reduce each
    const at::Tensor t = in[static_cast<std::size_t>(r)].clone();
    After take;
    if (r == rank_) take = [t, out] { at::Tensor(out).copy_(t.view_as(out)); };
    add_all_reduce(work, t, opts.reduceOp, r, std::move(take));
  }
  return work;
}

WorkPtr RegroupBackend::_reduce_scatter_base(at::Tensor& out, at::Tensor& in, const c10d::ReduceScatterOptions& opts) {
  check_tensor(in, "reduce_scatter_tensor");
  check_tensor(out, "reduce_scatter_tensor");
  contiguous(in, "reduce_scatter_tensor");
  contiguous(out, "reduce_scatter_tensor");
  same(in, out, "reduce_scatter_tensor");
  TORCH_CHECK_VALUE(
      in.numel() == out.numel() * size_,
      "regroup: reduce_scatter_tensor: input tensor must be the same size as output size times world size");
  const Work_ work = make(OpType::_REDUCE_SCATTER_BASE, "regroup:_reduce_scatter_base", {in}, {out}, opts.timeout);
  add_reduce_scatter(work, out, in, opts.reduceOp);
  return work;
}

WorkPtr RegroupBackend::reduce_scatter_tensor_coalesced(Tensors& outs, Tensors& ins,
                                                        const c10d::ReduceScatterOptions& opts) {
  TORCH_CHECK_VALUE(outs.size() == ins.size(), "regroup: reduce_scatter_tensor_coalesced: lists of different lengths");
  for (std::size_t i = 0; i < ins.size(); ++i) {
    check_tensor(ins[i], "reduce_scatter_tensor_coalesced");
    contiguous(ins[i], "reduce_scatter_tensor_coalesced");
    contiguous(outs[i], "reduce_scatter_tensor_coalesced");
    TORCH_CHECK_VALUE(ins[i].numel() == outs[i].numel() * size_, "regroup: reduce_scatter_tensor_coalesced: sizes");
  }
  const Work_ work =
      make(OpType::REDUCE_SCATTER_TENSOR_COALESCED, "regroup:reduce_scatter_tensor_coalesced", ins, outs, opts.timeout);
  for (std::size_t i = 0; i < ins.size(); ++i) add_reduce_scatter(work, outs[i], ins[i], opts.reduceOp);
  return work;
}

WorkPtr RegroupBackend::alltoall_base(at::Tensor& out, at::Tensor& in, std::vector<int64_t>& out_splits,
                                      std::vector<int64_t>& in_splits, const c10d::AllToAllOptions& opts) {
  return add_all_to_all(make(OpType::ALLTOALL_BASE, "regroup:all_to_all", {in}, {out}, opts.timeout), out, in,
                        out_splits, in_splits, {});
}

WorkPtr RegroupBackend::add_all_to_all(const Work_& work, at::Tensor out, at::Tensor in,
                                       const std::vector<int64_t>& out_splits, const std::vector<int64_t>& in_splits,
                                       After after) {
  check_tensor(in, "all_to_all_single");
  check_tensor(out, "all_to_all_single");
  contiguous(in, "all_to_all_single");
  contiguous(out, "all_to_all_single");
  same(in, out, "all_to_all_single");
  // Bytes by rank, and where they begin.
  const auto table = [&](const at::Tensor& t, const std::vector<int64_t>& splits) {
    std::vector<std::size_t> bytes;
    const std::int64_t rows = t.dim() == 0 ? 1 : t.size(0);
    if (splits.empty()) {
      TORCH_CHECK_VALUE(rows % size_ == 0,
                        "regroup: all_to_all_single: Tensor's dim 0 does not divide equally across group size");
      bytes.assign(static_cast<std::size_t>(size_), t.nbytes() / static_cast<std::size_t>(size_));
      return bytes;
    }
    TORCH_CHECK_VALUE(static_cast<int>(splits.size()) == size_,
                      "regroup: all_to_all_single: Number of tensor splits not equal to group size");
    std::int64_t sum = 0;
    for (const std::int64_t s : splits) sum += s;
    TORCH_CHECK_VALUE(sum == rows, "regroup: all_to_all_single: Split sizes doesn't match total dim 0 size");
    const std::size_t row = rows == 0 ? 0 : t.nbytes() / static_cast<std::size_t>(rows);
    for (const std::int64_t s : splits) bytes.push_back(static_cast<std::size_t>(s) * row);
    return bytes;
  };
  auto o = std::make_shared<StreamOp>();
  o->after = std::move(after);
  o->shape = true;
  o->submit = [in, out, give = table(in, in_splits), take = table(out, out_splits)](Group& g, const ViewInfo& view) {
    std::vector<std::size_t> give_at(give.size()), take_at(take.size()), counts[2], at[2];
    for (std::size_t r = 1; r < give.size(); ++r) {
      give_at[r] = give_at[r - 1] + give[r - 1];
      take_at[r] = take_at[r - 1] + take[r - 1];
    }
    if (view.size() != give.size()) std::memset(out.data_ptr(), 0, out.nbytes());
    for (const MemberId m : view.members) {
      counts[0].push_back(give[m.replica]), at[0].push_back(give_at[m.replica]);
      counts[1].push_back(take[m.replica]), at[1].push_back(take_at[m.replica]);
    }
    return g.all_to_all_v_async(in.data_ptr(), counts[0], at[0], out.data_ptr(), counts[1], at[1], DataType::kU8);
  };
  add(work, std::move(o));
  return work;
}

WorkPtr RegroupBackend::alltoall(Tensors& outs, Tensors& ins, const c10d::AllToAllOptions& opts) {
  TORCH_CHECK_VALUE(static_cast<int>(outs.size()) == size_ && static_cast<int>(ins.size()) == size_,
                    "regroup: all_to_all: lists of ", size_, " tensors are needed");
  Tensors flat_in;
  std::vector<int64_t> give, take;
  std::int64_t total = 0;
  for (int r = 0; r < size_; ++r) {
    const at::Tensor &in = ins[static_cast<std::size_t>(r)], &out = outs[static_cast<std::size_t>(r)];
    check_tensor(in, "all_to_all");
    check_tensor(out, "all_to_all");
    same(in, ins[0], "all_to_all");
    same(out, ins[0], "all_to_all");
    flat_in.push_back(in.reshape({-1}));
    give.push_back(in.numel());
    take.push_back(out.numel());
    total += out.numel();
  }
  at::Tensor in = at::cat(flat_in), out = at::empty({total}, ins[0].options());
  const Work_ work = make(OpType::ALLTOALL, "regroup:all_to_all", ins, outs, opts.timeout);
  return add_all_to_all(work, out, in, take, give, [out, outs, take] {
    const Tensors parts = out.split_with_sizes(take);
    for (std::size_t r = 0; r < outs.size(); ++r) at::Tensor(outs[r]).copy_(parts[r].view_as(outs[r]));
  });
}

}  // namespace regroup::python

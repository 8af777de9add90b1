// Calls that reduce: all_reduce, reduce, reduce_scatter and their coalesced forms.
#include <cstring>

#include "python/adapter/tensors.h"

namespace regroup::python {

using c10d::OpType;

// root < 0: everybody gets it.
void RegroupBackend::add_all_reduce(const Work_& work, const at::Tensor& tensor, const RedOp& op, int root,
                                    After after) {
  const auto f = core_fold(tensor, op);
  if (!f) return add_folded(work, tensor, op, root, std::move(after));
  auto o = std::make_shared<StreamOp>();
  o->after = std::move(after);
  const at::Tensor factor = premultiplier(tensor, op);
  o->root = root;
  o->submit = [tensor, f = *f, factor, root](Group& g, const ViewInfo&, const OpOptions& how) {
    OpOptions options = how;
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
  o->submit = [tensor, blocks](Group& g, const ViewInfo&, const OpOptions& how) {
    const auto [count, type] = as_bytes(tensor);
    return g.all_gather_async(tensor.data_ptr(), blocks.data_ptr(), count, type, how);
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
  const Work_ work = make(OpType::ALLREDUCE, "regroup:all_reduce", tensors, tensors, opts.timeout, opts.asyncOp);
  add_all_reduce(work, tensor, opts.reduceOp, -1);
  return work;
}

WorkPtr RegroupBackend::allreduce_coalesced(Tensors& tensors, const c10d::AllreduceCoalescedOptions& opts) {
  TORCH_CHECK_VALUE(!tensors.empty(), "regroup: all_reduce_coalesced: no tensors");
  for (const at::Tensor& t : tensors) check_tensor(t, "all_reduce_coalesced");
  const Work_ work =
      make(OpType::ALLREDUCE_COALESCED, "regroup:all_reduce", tensors, tensors, opts.timeout, opts.asyncOp);
  for (const at::Tensor& t : tensors) add_all_reduce(work, t, opts.reduceOp, -1);
  return work;
}

WorkPtr RegroupBackend::reduce(Tensors& tensors, const c10d::ReduceOptions& opts) {
  const at::Tensor& tensor = one(tensors, "reduce");
  check_rank(static_cast<int>(opts.rootRank), "reduce");
  const Work_ work = make(OpType::REDUCE, "regroup:reduce", tensors, tensors, opts.timeout, opts.asyncOp);
  add_all_reduce(work, tensor, opts.reduceOp, static_cast<int>(opts.rootRank));
  return work;
}

// `in`: contiguous, size() blocks of `out`.
void RegroupBackend::add_reduce_scatter(const Work_& work, at::Tensor out, at::Tensor in, const RedOp& op, bool whole) {
  const auto f = core_fold(in, op);
  if (!f || in.scalar_type() == at::kBool) {  // folded whole, then cut
    const at::Tensor sum = in.clone();
    return add_all_reduce(work, sum, op, -1, [sum, out, rank = rank_] {
      at::Tensor(out)
          .as_strided({out.numel()}, {1})
          .copy_(sum.reshape({-1}).narrow(0, rank * out.numel(), out.numel()));
    });
  }
  const at::Tensor factor = premultiplier(in, op);
  auto packed = std::make_shared<at::Tensor>();
  auto o = std::make_shared<StreamOp>();
  o->shape = true;
  o->whole = whole;
  o->submit = [in, out, packed, factor, f = *f, size = size_](Group& g, const ViewInfo& view, const OpOptions& how) {
    OpOptions options = how;
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
  for (const at::Tensor& t : in) {
    check_tensor(t, "reduce_scatter");
    same(t, out, "reduce_scatter");
  }
  const bool even = std::all_of(in.begin(), in.end(), [&](const at::Tensor& t) { return t.numel() == out.numel(); });
  TORCH_CHECK_VALUE(in[static_cast<std::size_t>(rank_)].numel() == out.numel(),
                    "regroup: reduce_scatter: the output is not as large as this rank's input");
  const Work_ work = make(OpType::REDUCE_SCATTER, "regroup:reduce_scatter", in, outs, opts.timeout, opts.asyncOp);
  if (even) {
    const at::Tensor flat = flat_like(out, size_);
    for (int r = 0; r < size_; ++r) flat[r].copy_(in[static_cast<std::size_t>(r)].reshape({-1}));
    add_reduce_scatter(work, out, flat, opts.reduceOp, false);
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
  TORCH_CHECK_VALUE(
      !in.defined() || !out.defined() || in.numel() == out.numel() * size_,
      "regroup: reduce_scatter_tensor: input tensor must be the same size as output size times world size");
  blocks_of({in}, {out}, size_, "reduce_scatter_tensor");
  const Work_ work =
      make(OpType::_REDUCE_SCATTER_BASE, "regroup:_reduce_scatter_base", {in}, {out}, opts.timeout, opts.asyncOp);
  add_reduce_scatter(work, out, in, opts.reduceOp, true);
  return work;
}

WorkPtr RegroupBackend::reduce_scatter_tensor_coalesced(Tensors& outs, Tensors& ins,
                                                        const c10d::ReduceScatterOptions& opts) {
  blocks_of(ins, outs, size_, "reduce_scatter_tensor_coalesced");
  const Work_ work = make(OpType::REDUCE_SCATTER_TENSOR_COALESCED, "regroup:reduce_scatter_tensor_coalesced", ins, outs,
                          opts.timeout, opts.asyncOp);
  for (std::size_t i = 0; i < ins.size(); ++i) add_reduce_scatter(work, outs[i], ins[i], opts.reduceOp, true);
  return work;
}

}  // namespace regroup::python

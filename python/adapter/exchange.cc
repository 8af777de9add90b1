// Calls whose members give or take different blocks: gather, scatter, all_to_all.
#include <cstring>

#include "python/adapter/tensors.h"

namespace regroup::python {

using c10d::OpType;

WorkPtr RegroupBackend::gather(std::vector<Tensors>& outs, Tensors& ins, const c10d::GatherOptions& opts) {
  const at::Tensor& in = one(ins, "gather");
  const int root = static_cast<int>(opts.rootRank);
  check_rank(root, "gather");
  Tensors out;
  at::Tensor flat;
  if (root == rank_) {
    out = list(outs, size_, "gather");
    for (const at::Tensor& t : out) {
      check_tensor(t, "gather");
      same_size(t, in, "gather");
    }
    flat = flat_like(in, size_);
  } else {
    TORCH_CHECK_VALUE(outs.empty() || outs[0].empty(), "regroup: gather: only the root gives outputs");
  }
  const Work_ work = make(OpType::GATHER, "regroup:gather", ins, out, opts.timeout, opts.asyncOp);
  auto o = std::make_shared<StreamOp>();
  o->shape = true;
  o->root = root;
  o->submit = [in, flat, root](Group& g, const ViewInfo& view, const OpOptions& how) {
    const std::size_t block = in.nbytes();
    std::vector<std::size_t> counts, at;
    if (flat.defined()) {
      std::memset(flat.data_ptr(), 0, flat.nbytes());
      for (const MemberId m : view.members) counts.push_back(block), at.push_back(m.replica * block);
    }
    return g.gather_v_async(in.data_ptr(), block, flat.defined() ? flat.data_ptr() : nullptr, counts, at, DataType::kU8,
                            {static_cast<std::uint32_t>(root), 0}, how);
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
  const Work_ work =
      make(OpType::SCATTER, "regroup:scatter", root == rank_ ? ins[0] : Tensors{}, outs, opts.timeout, opts.asyncOp);
  auto o = std::make_shared<StreamOp>();
  o->shape = true;
  o->root = root;
  o->submit = [out, flat, root](Group& g, const ViewInfo& view, const OpOptions& how) {
    const std::size_t block = out.nbytes();
    std::vector<std::size_t> counts, at;
    if (flat.defined())
      for (const MemberId m : view.members) counts.push_back(block), at.push_back(m.replica * block);
    return g.scatter_v_async(flat.defined() ? flat.data_ptr() : nullptr, counts, at, out.data_ptr(), block,
                             DataType::kU8, {static_cast<std::uint32_t>(root), 0}, how);
  };
  add(work, std::move(o));
  return work;
}

WorkPtr RegroupBackend::alltoall_base(at::Tensor& out, at::Tensor& in, std::vector<int64_t>& out_splits,
                                      std::vector<int64_t>& in_splits, const c10d::AllToAllOptions& opts) {
  return add_all_to_all(make(OpType::ALLTOALL_BASE, "regroup:all_to_all", {in}, {out}, opts.timeout, opts.asyncOp), out,
                        in, out_splits, in_splits, {});
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
    for (const std::int64_t s : splits) {
      TORCH_CHECK_VALUE(s >= 0, "regroup: all_to_all_single: a split of ", s);
      sum += s;
    }
    TORCH_CHECK_VALUE(sum == rows, "regroup: all_to_all_single: Split sizes doesn't match total dim 0 size");
    const std::size_t row = rows == 0 ? 0 : t.nbytes() / static_cast<std::size_t>(rows);
    for (const std::int64_t s : splits) bytes.push_back(static_cast<std::size_t>(s) * row);
    return bytes;
  };
  auto o = std::make_shared<StreamOp>();
  o->after = std::move(after);
  o->shape = true;
  o->submit = [in, out, give = table(in, in_splits), take = table(out, out_splits)](Group& g, const ViewInfo& view,
                                                                                    const OpOptions& how) {
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
    return g.all_to_all_v_async(in.data_ptr(), counts[0], at[0], out.data_ptr(), counts[1], at[1], DataType::kU8, how);
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
  const Work_ work = make(OpType::ALLTOALL, "regroup:all_to_all", ins, outs, opts.timeout, opts.asyncOp);
  return add_all_to_all(work, out, in, take, give, [out, outs, take] {
    const Tensors parts = out.split_with_sizes(take);
    for (std::size_t r = 0; r < outs.size(); ++r) at::Tensor(outs[r]).copy_(parts[r].view_as(outs[r]));
  });
}

}  // namespace regroup::python

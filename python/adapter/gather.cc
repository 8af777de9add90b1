// Calls that copy to everybody: broadcast, all_gather and its coalesced forms.
#include <algorithm>
#include <cstring>

#include "python/adapter/tensors.h"

namespace regroup::python {

using c10d::OpType;

WorkPtr RegroupBackend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& opts) {
  const at::Tensor& tensor = one(tensors, "broadcast");
  const int root = static_cast<int>(opts.rootRank);
  check_rank(root, "broadcast");
  const Work_ work = make(OpType::BROADCAST, "regroup:broadcast", tensors, tensors, opts.timeout, opts.asyncOp);
  auto o = std::make_shared<StreamOp>();
  const bool stand_in = config_.stand_in_root;
  o->root = stand_in ? -1 : root;
  o->shape = stand_in;  // the view must be the same at all when the root is chosen
  o->submit = [tensor, root, stand_in](Group& g, const ViewInfo& view, const OpOptions& how) {
    MemberId from{static_cast<std::uint32_t>(root), 0};
    if (stand_in && std::find(view.members.begin(), view.members.end(), from) == view.members.end())
      from = view.members[0];
    return g.broadcast_async(tensor.data_ptr(), tensor.nbytes(), DataType::kU8, from, how);
  };
  add(work, std::move(o));
  return work;
}

// `out`: contiguous, size() blocks of `in`.
void RegroupBackend::add_all_gather(const Work_& work, at::Tensor out, const at::Tensor& in, bool whole, After after) {
  auto o = std::make_shared<StreamOp>();
  o->after = std::move(after);
  const std::size_t block = in.nbytes();
  auto packed = std::make_shared<at::Tensor>();
  o->shape = true;
  o->whole = whole;
  o->submit = [in, out, packed, block, size = size_](Group& g, const ViewInfo& view, const OpOptions& how) {
    void* to = out.data_ptr();
    if (static_cast<int>(view.size()) != size) {  // members' blocks in order; they are put to their ranks below
      *packed = at::empty({static_cast<std::int64_t>(view.size() * block)}, at::kByte);
      to = packed->data_ptr();
    } else {
      *packed = at::Tensor();
    }
    return g.all_gather_async(in.data_ptr(), to, block, DataType::kU8, how);
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
  const Work_ work = make(OpType::ALLGATHER, "regroup:all_gather", ins, out, opts.timeout, opts.asyncOp);
  const bool even = std::all_of(out.begin(), out.end(), [&](const at::Tensor& t) { return t.numel() == in.numel(); });
  if (!even) {
    same_size(out[static_cast<std::size_t>(rank_)], in, "all_gather");
    for (int r = 0; r < size_; ++r) {
      const at::Tensor t = out[static_cast<std::size_t>(r)];
      if (r == rank_) t.copy_(in.view_as(t));
      auto o = std::make_shared<StreamOp>();
      o->root = r;
      o->submit = [t, r](Group& g, const ViewInfo&, const OpOptions& how) {
        return g.broadcast_async(t.data_ptr(), t.nbytes(), DataType::kU8, {static_cast<std::uint32_t>(r), 0}, how);
      };
      add(work, std::move(o));
    }
    return work;
  }
  const at::Tensor flat = flat_like(in, size_);
  add_all_gather(work, flat, in, false, [flat, out] {
    for (std::size_t r = 0; r < out.size(); ++r) {
      at::Tensor t = out[r];
      t.as_strided({t.numel()}, {1}).copy_(flat[static_cast<std::int64_t>(r)]);
    }
  });
  return work;
}

WorkPtr RegroupBackend::_allgather_base(at::Tensor& out, at::Tensor& in, const c10d::AllgatherOptions& opts) {
  TORCH_CHECK_VALUE(
      !in.defined() || !out.defined() || out.numel() == in.numel() * size_,
      "regroup: all_gather_into_tensor: output tensor size must be equal to world_size times input tensor size");
  blocks_of({out}, {in}, size_, "all_gather_into_tensor");
  const Work_ work = make(OpType::_ALLGATHER_BASE, "regroup:_all_gather_base", {in}, {out}, opts.timeout, opts.asyncOp);
  add_all_gather(work, out, in, true);
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
    for (const Tensors& t : outs) {
      check_tensor(t[i], "all_gather_coalesced");
      same_size(t[i], ins[i], "all_gather_coalesced");
    }
  }
  const Work_ work = make(OpType::ALLGATHER_COALESCED, "regroup:all_gather", ins, all, opts.timeout, opts.asyncOp);
  for (std::size_t i = 0; i < ins.size(); ++i) {
    const at::Tensor flat = flat_like(ins[i], size_);
    add_all_gather(work, flat, ins[i].contiguous(), false, [flat, outs, i] {
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
  blocks_of(outs, ins, size_, "all_gather_into_tensor_coalesced");
  const Work_ work =
      make(OpType::COALESCED, "regroup:all_gather_into_tensor_coalesced", ins, outs, opts.timeout, opts.asyncOp);
  for (std::size_t i = 0; i < ins.size(); ++i) add_all_gather(work, outs[i], ins[i], true);
  return work;
}

}  // namespace regroup::python

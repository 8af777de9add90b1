#include "python/adapter/tensors.h"

namespace regroup::python {
namespace {

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

}  // namespace

Elements as_bytes(const at::Tensor& t) { return {t.nbytes(), DataType::kU8}; }

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

at::Tensor premultiplier(const at::Tensor& like, const RedOp& op) {
  if (op != RedOp::PREMUL_SUM) return {};
  return at::scalar_tensor(factor_of(op), like.options().dtype(c10::toRealValueType(like.scalar_type())));
}

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
void blocks_of(const Tensors& whole, const Tensors& parts, int size, const char* what) {
  TORCH_CHECK_VALUE(whole.size() == parts.size(), "regroup: ", what, ": lists of different lengths");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    for (const at::Tensor& t : {whole[i], parts[i]}) check_tensor(t, what), contiguous(t, what);
    same(whole[i], parts[i], what);
    TORCH_CHECK_VALUE(whole[i].numel() == parts[i].numel() * size, "regroup: ", what, ": ", whole[i].numel(),
                      " elements are not ", size, " times ", parts[i].numel());
  }
}
const Tensors& list(const std::vector<Tensors>& lists, int size, const char* what) {
  TORCH_CHECK_VALUE(lists.size() == 1 && static_cast<int>(lists[0].size()) == size, "regroup: ", what, ": one list of ",
                    size, " tensors is needed");
  return lists[0];
}

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

}  // namespace regroup::python

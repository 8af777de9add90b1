// Tensors of c10d as the core sees them: element types, what it reduces on its own and what is folded here, and what is
// wrong with an argument. No call and no state; every check throws c10::ValueError with what is wrong, before anything
// is sent.
#pragma once

#include <cstddef>
#include <optional>

#include "python/adapter/backend.h"

namespace regroup::python {

using RedOp = c10d::ReduceOp;

// How the core sees a tensor's elements. Bytes: nothing is computed on them.
struct Elements {
  std::size_t count;
  DataType type;
};
Elements as_bytes(const at::Tensor& tensor);

// A reduction that the core does on its own, or none: then it is folded here.
struct Fold {
  DataType type;
  std::size_t per_element;  // complex numbers are two
  ReduceOp op;
};
std::optional<Fold> core_fold(const at::Tensor& tensor, const RedOp& op);
// The scalar of PREMUL_SUM.
double factor_of(const RedOp& op);
// It as a tensor of the type that `like` is made of; undefined where `op` is another.
at::Tensor premultiplier(const at::Tensor& like, const RedOp& op);
// Blocks of members, folded with torch in member order.
at::Tensor fold(const at::Tensor& blocks, const RedOp& op, int contributors);
// Sums whose caller divides by the size: scaled to what the contributors make.
void scale_to_size(at::Tensor tensor, std::size_t contributors, int size);

at::Tensor flat_like(const at::Tensor& tensor, std::int64_t blocks);
// Of one type; of one type and as many elements; contiguous; one list of `size` tensors.
void same(const at::Tensor& a, const at::Tensor& b, const char* what);
void same_size(const at::Tensor& a, const at::Tensor& b, const char* what);
void contiguous(const at::Tensor& tensor, const char* what);
// Lists of blocks: as many, of one type, `size` times as many elements in each of `whole`, all of it contiguous.
void blocks_of(const Tensors& whole, const Tensors& parts, int size, const char* what);
const Tensors& list(const std::vector<Tensors>& lists, int size, const char* what);

}  // namespace regroup::python

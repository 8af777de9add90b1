#include "kernels/launches.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace regroup::device {
namespace {

template <class Arguments>
const Arguments& as(const void* arguments) {
  return *static_cast<const Arguments*>(arguments);
}

void reduce_on_host(const void* arguments) {
  const auto& a = as<Reduce>(arguments);
  kernels::reduce(a.type, a.op, a.to[0], std::span(a.from, a.sources), a.count);
  if (a.outputs == 2 && a.count != 0) kernels::copy(a.to[1], a.to[0], a.count * size_of(a.type));
}
void copy_on_host(const void* arguments) {
  const auto& a = as<Copy>(arguments);
  if (a.bytes != 0 && (a.word == nullptr || a.word->load(std::memory_order_acquire) == a.value))
    kernels::copy(a.to, a.from, a.bytes);
}
void digest_on_host(const void* arguments) {
  const auto& a = as<Digest>(arguments);
  *a.sum += a.to == nullptr ? kernels::digest(a.from, a.bytes) : kernels::copy_digest(a.to, a.from, a.bytes);
}
void divide_on_host(const void* arguments) {
  const auto& a = as<Divide>(arguments);
  kernels::divide_by(a.type, a.data, a.by, a.count);
}
void pieces_on_host(const void* arguments) {
  const auto& a = as<Pieces>(arguments);
  const std::span pieces(a.piece, a.count);
  a.unpack ? kernels::unpack(pieces, a.flat) : kernels::pack(a.flat, pieces);
}
void quantise_on_host(const void* arguments) {
  const auto& a = as<Quantise>(arguments);
  kernels::quantise(a.code, a.codes, a.scales, a.bf16, a.count);
}
void dequantise_add_on_host(const void* arguments) {
  const auto& a = as<DequantiseAdd>(arguments);
  kernels::dequantise_add(a.code, a.sum, a.codes, a.scales, a.count);
}

template <class Arguments>
Launch make(Launch::HostTwin twin, KernelId id, const Arguments& a, std::uint32_t ctas) {
  Launch launch = Launch::of(twin, a);
  launch.kernel = id;
  launch.ctas = ctas;
  return launch;
}

Status each_part(Stream& stream, bool unpack, std::byte* flat, std::span<const kernels::Piece> pieces,
                 std::uint32_t ctas) {
  while (!pieces.empty()) {
    const auto part = pieces.first(std::min<std::size_t>(pieces.size(), kMaxPieces));
    Pieces a{unpack, static_cast<std::uint32_t>(part.size()), flat, {}};
    std::copy(part.begin(), part.end(), a.piece);
    if (Status s = stream.launch(launch_of(a, ctas)); !s) return s;
    flat += kernels::bytes_of(part);
    pieces = pieces.subspan(part.size());
  }
  return {};
}

}  // namespace

Launch launch_of(const Reduce& a, std::uint32_t ctas) { return make(reduce_on_host, KernelId::kReduce, a, ctas); }
Launch launch_of(const Copy& a, std::uint32_t ctas) { return make(copy_on_host, KernelId::kCopy, a, ctas); }
Launch launch_of(const Digest& a, std::uint32_t ctas) { return make(digest_on_host, KernelId::kDigest, a, ctas); }
Launch launch_of(const Divide& a, std::uint32_t ctas) { return make(divide_on_host, KernelId::kDivide, a, ctas); }
Launch launch_of(const Pieces& a, std::uint32_t ctas) { return make(pieces_on_host, KernelId::kPieces, a, ctas); }
Launch launch_of(const Quantise& a, std::uint32_t ctas) { return make(quantise_on_host, KernelId::kQuantise, a, ctas); }
Launch launch_of(const DequantiseAdd& a, std::uint32_t ctas) {
  return make(dequantise_add_on_host, KernelId::kDequantiseAdd, a, ctas);
}

Status pack(Stream& stream, void* to, std::span<const kernels::Piece> pieces, std::uint32_t ctas) {
  return each_part(stream, false, static_cast<std::byte*>(to), pieces, ctas);
}
Status unpack(Stream& stream, std::span<const kernels::Piece> pieces, const void* from, std::uint32_t ctas) {
  return each_part(stream, true, const_cast<std::byte*>(static_cast<const std::byte*>(from)), pieces, ctas);
}

}  // namespace regroup::device

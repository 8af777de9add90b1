#include "kernels/kernels.h"

#include <cstring>

#include "base/check.h"
#include "base/fence.h"
#include "kernels/host/table.h"

namespace regroup::kernels {

using host::best;

void reduce(DataType type, ReduceOp op, void* dst, std::span<const void* const> sources, std::size_t count,
            Store store) {
  RG_CHECK(!sources.empty() && sources.size() <= 1024);
  const std::size_t bytes = count * size_of(type);
  if (sources.size() == 1) {
    if (dst != sources[0]) copy(dst, sources[0], bytes, store);
    return;
  }
  const bool stream = store == Store::kStream;
  const host::ReduceFn fn = best().reduce[static_cast<std::size_t>(type)][static_cast<std::size_t>(op)];
  fn(static_cast<std::uint8_t*>(dst), reinterpret_cast<const std::uint8_t* const*>(sources.data()), sources.size(),
     bytes, stream);
  if (stream) stream_fence();
}

void copy(void* dst, const void* src, std::size_t bytes, Store store) {
  if (bytes == 0) return;  // memcpy may not be given null pointers
  if (store == Store::kStream) {
    best().stream_copy(static_cast<std::uint8_t*>(dst), static_cast<const std::uint8_t*>(src), bytes);
    stream_fence();
  } else {
    std::memcpy(dst, src, bytes);
  }
}

const char* target_name() { return best().name; }

}  // namespace regroup::kernels

#include "kernels/quantise.h"

#include "kernels/host/table.h"

namespace regroup::kernels {

void quantise(Code8 code, std::uint8_t* codes, std::uint8_t* scales, const void* bf16, std::size_t count) {
  host::best().quantise[static_cast<std::size_t>(code)](codes, scales, static_cast<const std::uint8_t*>(bf16), count);
}

void dequantise_add(Code8 code, float* sum, const std::uint8_t* codes, const std::uint8_t* scales, std::size_t count) {
  host::best().dequantise_add[static_cast<std::size_t>(code)](sum, codes, scales, count);
}

}  // namespace regroup::kernels

// Which tables this machine can run.
#include "kernels/host/table.h"

#include <vector>

#include "kernels/host/targets.h"

namespace regroup::kernels::host {
namespace {

Table table_of(std::int64_t target) {
  return {hwy::TargetName(target),
          {f64_row(target), f32_row(target), f16_row(target), bf16_row(target), i8_row(target), u8_row(target),
           i32_row(target), u32_row(target), i64_row(target), u64_row(target)},
          stream_copy_for(target),
          digest_for(target),
          quantise_for(target),
          dequantise_add_for(target)};
}

std::vector<Table> make_tables() {
  std::vector<Table> found;
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_NEON}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) != 0) found.push_back(table_of(target));
  }
  found.push_back(scalar_table());
  return found;
}

}  // namespace

std::span<const Table> tables() {
  static const std::vector<Table> all = make_tables();
  return all;
}

const Table& best() {
  static const Table& table = tables().front();
  return table;
}

}  // namespace regroup::kernels::host

// What a *_perf program says about its collective; the driver does the rest. One small file per collective defines one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "bench/data.h"
#include "regroup/regroup.h"

namespace regroup::bench {

struct Call {
  Group* group = nullptr;
  const void* in = nullptr;
  void* out = nullptr;
  std::size_t count = 0;  // elements, as nccl-tests counts them for this collective
  DataType type = DataType::kF32;
  ReduceOp op = ReduceOp::kSum;
};

// Positions are indices into the view; they equal ranks while all are there.
struct Collective {
  const char* program;  // "all_reduce_perf"
  bool reduces;         // has a reduction: -o counts
  // Elements at one rank for `bytes` of the collective, and of its input and output for that count.
  std::size_t (*count)(std::size_t bytes, std::size_t type_size, std::size_t ranks);
  std::size_t (*in_elements)(std::size_t count, std::size_t ranks);
  std::size_t (*out_elements)(std::size_t count, std::size_t ranks);
  // Where the input lies in the output buffer when in place, in elements.
  std::size_t (*in_place_offset)(std::size_t count, std::size_t ranks, std::size_t rank);
  double (*bus_factor)(std::size_t ranks);

  Result<Outcome> (*run)(const Call& call);
  Work (*start)(const Call& call);

  void (*fill)(const Pattern& pattern, std::uint32_t rank, std::size_t ranks, void* in, std::size_t count);
  std::uint64_t (*wrong)(const Pattern& pattern, std::span<const std::uint32_t> contributors, std::uint32_t rank,
                         const void* out, std::size_t count);
};

}  // namespace regroup::bench

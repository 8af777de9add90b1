#include "bench/device/cases.h"

#include "base/clock.h"
#include "kernels/launches.h"

namespace regroup::bench {
namespace {

constexpr std::size_t kSources = 4, kPieces = 16;

}  // namespace

Result<std::unique_ptr<DeviceBuffers>> DeviceBuffers::make(device::Device& device, std::size_t bytes) {
  std::unique_ptr<DeviceBuffers> all(new DeviceBuffers(device, bytes));
  auto stream = device.make_stream();
  if (!stream) return stream.error();
  const auto take = [&](std::size_t size) -> Result<void*> {
    Result<void*> memory = device.allocate(device::Memory::kDevice, size);
    if (memory)
      if (Status s = (*stream)->zero(*memory, size); !s) return s.error();
    return memory;
  };
  for (std::size_t i = 0; i < kSources; ++i) {
    Result<void*> memory = take(bytes);
    if (!memory) return memory.error();
    all->from_.push_back(*memory);
  }
  for (auto [at, size] : {std::pair{&all->to_, bytes}, {&all->word_, std::size_t{8}}}) {
    Result<void*> memory = take(size);
    if (!memory) return memory.error();
    *at = *memory;
  }
  if (Status s = (*stream)->finish(now() + Duration::from_s(60)); !s) return s.error();
  return all;
}

DeviceBuffers::~DeviceBuffers() {
  from_.push_back(to_);
  from_.push_back(word_);
  for (void* memory : from_)
    if (memory != nullptr) device_.free(device::Memory::kDevice, memory);
}

DeviceCase DeviceBuffers::own_copy() const {
  return {"copy of the device", 2.0 * static_cast<double>(bytes_),
          [this](device::Stream& s, std::uint32_t) { return s.copy(to_, from_[0], bytes_); }};
}

std::vector<DeviceCase> DeviceBuffers::kernels() const {
  const auto bytes = static_cast<double>(bytes_);
  std::vector<DeviceCase> all;
  const auto add = [&](std::string name, double traffic, auto arguments) {
    all.push_back({std::move(name), traffic, [arguments](device::Stream& s, std::uint32_t ctas) {
                     return s.launch(device::launch_of(arguments, ctas));
                   }});
  };
  add("copy", 2 * bytes, device::Copy{to_, from_[0], bytes_, nullptr, 0});
  const auto reduce = [&](const char* name, DataType type, std::uint32_t sources) {
    device::Reduce r{type, ReduceOp::kSum, 1, sources, bytes_ / size_of(type), {to_}, {}};
    for (std::uint32_t i = 0; i < sources; ++i) r.from[i] = from_[i];
    add(name, (sources + 1) * bytes, r);
  };
  reduce("reduce 2 to 1, f32", DataType::kF32, 2);
  reduce("reduce 4 to 1, f32", DataType::kF32, 4);
  reduce("reduce 2 to 1, bf16", DataType::kBF16, 2);
  add("reduce 2 to 2, f32", 4 * bytes,
      device::Reduce{DataType::kF32, ReduceOp::kSum, 2, 2, bytes_ / 4, {to_, from_[3]}, {from_[0], from_[1]}});
  auto* const word = static_cast<std::uint64_t*>(word_);
  add("digest", bytes, device::Digest{nullptr, from_[0], bytes_, word});
  add("digest and copy", 2 * bytes, device::Digest{to_, from_[0], bytes_, word});
  device::Pieces pieces{false, kPieces, static_cast<std::byte*>(to_), {}};
  for (std::size_t i = 0; i < kPieces; ++i)
    pieces.piece[i] = {static_cast<std::byte*>(from_[0]) + i * (bytes_ / kPieces), bytes_ / kPieces};
  add("pack of 16", 2 * bytes, pieces);
  const std::size_t halves = bytes_ / 2;
  auto* const codes = static_cast<std::uint8_t*>(to_);
  auto* const scales = static_cast<std::uint8_t*>(from_[1]);
  const double coded = static_cast<double>(halves + kernels::scales_for(halves));
  add("quantise bf16 to fp8", bytes + coded, device::Quantise{kernels::Code8::kFp8, codes, scales, from_[0], halves});
  const std::size_t floats = bytes_ / 4;
  add("dequantise fp8, add", 2 * bytes + static_cast<double>(floats + kernels::scales_for(floats)),
      device::DequantiseAdd{kernels::Code8::kFp8, static_cast<float*>(from_[2]), codes, scales, floats});
  return all;
}

}  // namespace regroup::bench

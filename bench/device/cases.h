// What device_perf measures: the kernels of kernels/launches.h and the device's own copy, with the traffic that each cannot do
// without (bytes read and written).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device/device.h"

namespace regroup::bench {

struct DeviceCase {
  std::string name;
  double traffic = 0;  // bytes of one launch
  std::function<Status(device::Stream&, std::uint32_t ctas)> queue;
};

// Memory that the cases share. Owns it; the device outlives it.
class DeviceBuffers {
 public:
  // Buffers of `bytes` bytes (a multiple of 4096). kNoMemory.
  static Result<std::unique_ptr<DeviceBuffers>> make(device::Device& device, std::size_t bytes);
  ~DeviceBuffers();
  DeviceBuffers(const DeviceBuffers&) = delete;
  DeviceBuffers& operator=(const DeviceBuffers&) = delete;

  [[nodiscard]] DeviceCase own_copy() const;  // what the others are measured against
  [[nodiscard]] std::vector<DeviceCase> kernels() const;

 private:
  DeviceBuffers(device::Device& device, std::size_t bytes) : device_(device), bytes_(bytes) {}
  device::Device& device_;
  std::size_t bytes_;
  std::vector<void*> from_;  // sources
  void* to_ = nullptr;
  void* word_ = nullptr;     // one of 64 bits: a digest, or a divisor
};

}  // namespace regroup::bench

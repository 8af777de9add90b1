#include "kernels/device/probe.h"

#include <vector>

#include "base/clock.h"

namespace regroup::device {
namespace {

constexpr std::size_t kCallers = 16;  // twice the hardware queues that CUDA takes by default
constexpr std::size_t kBytes = 4096;

}  // namespace

Result<bool> waits_stall(Device& device, Duration patience) {
  if (!device.may_stall()) return false;
  Result<Flag> decided = device.make_flag();
  if (!decided) return decided.error();
  Result<void*> memory = device.allocate(Memory::kDevice, kBytes);
  if (!memory) return memory.error();
  std::vector<std::unique_ptr<Stream>> callers;
  const auto run = [&]() -> Result<bool> {
    for (std::size_t i = 0; i < kCallers; ++i) {
      auto caller = device.make_stream();
      if (!caller) return caller.error();
      if (Status s = (*caller)->wait(*decided, 1); !s) return s.error();
      callers.push_back(std::move(*caller));
    }
    for (int attempt = 0; attempt < 2; ++attempt) {  // an op, and its redo
      auto ours = device.make_stream();
      if (!ours) return ours.error();
      Status s = (*ours)->zero(*memory, kBytes);
      if (s) s = (*ours)->finish(now() + patience);
      if (s.code() == Code::kTimeout) {
        decided->raise(1);  // before `ours` is dropped, which waits for it
        (void)(*ours)->finish(now() + patience).ok();
        return true;
      }
      if (!s) return s.error();
    }
    return false;
  };
  const Result<bool> stall = run();
  decided->raise(1);
  for (const auto& caller : callers) (void)caller->finish(now() + patience).ok();
  callers.clear();
  device.free(Memory::kDevice, *memory);
  return stall;
}

}  // namespace regroup::device

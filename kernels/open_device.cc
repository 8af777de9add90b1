#include "kernels/open_device.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "kernels/device/host_device.h"
#ifdef RG_HAVE_CUDA
#include "kernels/cuda/cuda_device.h"
#endif

namespace regroup::device {
namespace {

bool number(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

// "host,late_us=200,seed=7,fail_at=90,most_pinned=4096": see Faults.
Result<std::unique_ptr<Device>> open_host(std::string_view faults, const std::string& all) {
  Faults f;
  std::uint64_t late_us = 0;
  while (!faults.empty()) {
    faults.remove_prefix(1);
    const std::size_t end = std::min(faults.find(','), faults.size()), equals = std::min(faults.find('='), end);
    const std::string_view key = faults.substr(0, equals), value = equals < end ? faults.substr(equals + 1, end - equals - 1) : "";
    std::uint64_t* const field = key == "late_us"       ? &late_us
                                 : key == "seed"        ? &f.seed
                                 : key == "fail_at"     ? &f.fail_at
                                 : key == "queues"      ? &f.queues
                                 : key == "closed"      ? &f.closed
                                 : key == "most_pinned" ? &f.most_pinned
                                                        : nullptr;
    if (field == nullptr || !number(value, *field) || late_us > 60'000'000)
      return {Code::kConfig, "device: '" + all + "': late_us=N (at most a minute), seed=N, fail_at=N, queues=N, closed=N or most_pinned=N were meant"};
    faults.remove_prefix(end);
  }
  f.late = Duration::from_us(static_cast<std::int64_t>(late_us));
  return make_host_device(f);
}

}  // namespace

bool has_cuda() {
#ifdef RG_HAVE_CUDA
  return true;
#else
  return false;
#endif
}

Result<std::unique_ptr<Device>> open_device(const std::string& name) {
  const std::string_view text = name;
  if (text == "host" || text.starts_with("host,")) return open_host(text.substr(4), name);
  std::uint64_t ordinal = 0;
  if (!text.starts_with("cuda:") || !number(text.substr(5), ordinal) || ordinal > 1023)
    return {Code::kConfig, "device: '" + name + "' is none of cuda:N, host"};
#ifdef RG_HAVE_CUDA
  return make_cuda_device(static_cast<int>(ordinal));
#else
  return {Code::kUnsupported, "device: '" + name + "': this build has no CUDA"};
#endif
}

}  // namespace regroup::device

// Buffers on a device: Options::device, and calls that are given memory of it.
#include <charconv>

#include "kernels/device/host_device.h"
#include "runtime/api/group_impl.h"
#ifdef RG_HAVE_CUDA
#include "kernels/cuda/cuda_device.h"
#endif

namespace regroup {
namespace {

bool number(std::string_view text, std::uint64_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

// "host,late_us=200,seed=7,fail_at=90": see Faults.
Result<std::unique_ptr<device::Device>> open_host(std::string_view faults, const std::string& all) {
  device::Faults f;
  std::uint64_t late_us = 0;
  while (!faults.empty()) {
    faults.remove_prefix(1);
    const std::size_t end = std::min(faults.find(','), faults.size()), equals = std::min(faults.find('='), end);
    const std::string_view key = faults.substr(0, equals), value = equals < end ? faults.substr(equals + 1, end - equals - 1) : "";
    std::uint64_t* const field = key == "late_us" ? &late_us : key == "seed" ? &f.seed : key == "fail_at" ? &f.fail_at : nullptr;
    if (field == nullptr || !number(value, *field) || late_us > 60'000'000)
      return {Code::kConfig, "device: '" + all + "': late_us=N (at most a minute), seed=N or fail_at=N were meant"};
    faults.remove_prefix(end);
  }
  f.late = Duration::from_us(static_cast<std::int64_t>(late_us));
  return device::make_host_device(f);
}

Result<std::unique_ptr<device::Device>> open(const std::string& name) {
  const std::string_view text = name;
  if (text == "host" || text.starts_with("host,")) return open_host(text.substr(4), name);
  std::uint64_t ordinal = 0;
  if (!text.starts_with("cuda:") || !number(text.substr(5), ordinal) || ordinal > 1023)
    return {Code::kConfig, "device: '" + name + "' is none of cuda:N, host"};
#ifdef RG_HAVE_CUDA
  return device::make_cuda_device(static_cast<int>(ordinal));
#else
  return {Code::kUnsupported, "device: '" + name + "': this build has no CUDA"};
#endif
}

}  // namespace

void GroupImpl::share(std::shared_ptr<device::Device> device) {
  if (device) stage_ = std::make_unique<DeviceStage>(std::move(device), [this] { engine_.wake(); });
}

Status GroupImpl::open_device() {
  if (options_.device.empty() || stage_) return {};
  Result<std::unique_ptr<device::Device>> device = open(options_.device);
  if (!device) return device.error();
  share(std::move(*device));
  return {};
}

Status GroupImpl::host_only(const void* in, const void* out, const OpOptions& options) const {
  if (options.stream == nullptr && !(stage_ && (stage_->holds(in) || stage_->holds(out)))) return {};
  return {Code::kUnsupported, "this call is not carried out on device buffers"};
}

Result<ExecOp> GroupImpl::make(calls::Uniform call, const OpOptions& options) {
  const calls::Site& site = submit_site();
  if (!stage_) {
    if (options.stream != nullptr) return {Code::kInvalid, "a stream, but no device: Options::device is not set"};
    return calls::make(site, call, options);
  }
  const Result<calls::Extent> bytes = calls::extent(site, call);
  if (!bytes) return bytes.error();
  const bool in = bytes->in != 0 && stage_->holds(call.in), out = bytes->out != 0 && stage_->holds(call.out);
  const bool idle = bytes->in == 0 && bytes->out == 0;  // a barrier
  if (!in && !out && (!idle || options.stream == nullptr)) {
    if (options.stream == nullptr) return calls::make(site, call, options);
    if (Status s = stage_->device()->health(); !s) return engine_.lose(s.error()), s.error();
    return {Code::kInvalid, std::string("a stream, but the buffers are not on ") + stage_->device()->name()};
  }
  if ((bytes->in != 0 && !in) || (bytes->out != 0 && !out))
    return {Code::kInvalid, std::string("the ") + (in ? "input" : "output") + " is on " + stage_->device()->name() + ", the " +
                                (in ? "output" : "input") + " is not"};
  if (options.cut_bytes != 0 && std::max(bytes->in, bytes->out) > options.cut_bytes)
    return {Code::kUnsupported, "cut_bytes: not with buffers on a device"};
  Result<DeviceStage::Copies> copies = stage_->begin(call.in, bytes->in, call.out, bytes->out, options.stream);
  if (!copies) {
    if (copies.code() == Code::kSystem) engine_.lose(copies.error());  // else the others would wait for this op
    return copies.error();
  }
  call.in = bytes->in != 0 ? copies->in : copies->out;
  call.out = bytes->out != 0 ? copies->out : const_cast<void*>(copies->in);
  Result<ExecOp> op = calls::make(site, call, options);
  if (op) op->stage = std::move(copies->stage);
  return op;
}

}  // namespace regroup

#include "kernels/cuda/cuda_device.h"

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "kernels/cuda/entries.h"
#include "kernels/cuda/lending.h"

namespace regroup::device {
namespace {

constexpr Duration kLook = Duration::from_us(20);  // between two looks at a stream
constexpr Duration kDropWait = Duration::from_s(10);
constexpr std::size_t kFlagBytes = 64;  // a line each
constexpr std::size_t kFlagsAtOnce = 64;

// Driver functions, found by the runtime.
struct Driver {
  CUresult (*write)(CUstream, CUdeviceptr, cuuint32_t, unsigned) = nullptr;
  CUresult (*wait)(CUstream, CUdeviceptr, cuuint32_t, unsigned) = nullptr;
  cuda::Addresses addresses;
};

template <class F>
cudaError_t find(const char* name, F& function) {
  void* at = nullptr;
  cudaDriverEntryPointQueryResult found{};
  const cudaError_t error = cudaGetDriverEntryPointByVersion(name, &at, 12000, cudaEnableDefault, &found);
  if (error != cudaSuccess) return error;
  if (found != cudaDriverEntryPointSuccess) return cudaErrorSymbolNotFound;
  function = reinterpret_cast<F>(at);
  return cudaSuccess;
}

// What device, streams and events share; dies with the last of them.
struct Shared {
  int ordinal = 0;
  Driver driver;
  mutable std::mutex mutex;  // over what follows
  mutable Status health;
  std::vector<std::byte*> flags;  // host-mapped memory
  std::size_t used = kFlagsAtOnce;
  std::multiset<const std::byte*> opened;  // of other processes

  ~Shared() {
    for (std::byte* page : flags) cudaFreeHost(page);
  }
  [[nodiscard]] Status state() const {
    std::lock_guard lock(mutex);
    return health;
  }
  [[nodiscard]] Status check(cudaError_t error, const char* call) const {
    if (error == cudaSuccess) return {};
    const std::string text =
        std::string(call) + ": " + cudaGetErrorString(error) + " (CUDA error " + std::to_string(error) + ")";
    if (error == cudaErrorMemoryAllocation) return {Code::kNoMemory, text};
    if (error == cudaErrorInvalidValue || error == cudaErrorInvalidResourceHandle) return {Code::kInvalid, text};  // the caller's
    if (error >= cudaErrorStreamCaptureUnsupported && error <= cudaErrorStreamCaptureWrongThread) return {Code::kUnsupported, text};
    return lost(text);
  }
  [[nodiscard]] Status lost(const std::string& why) const {
    std::lock_guard lock(mutex);
    if (health.ok()) health = {Code::kSystem, "the device is lost: " + why};
    return health;
  }
};
using Owner = std::shared_ptr<Shared>;

// Calls of CUDA go to the device of the thread, which is the caller's: it gets it back. What another thread records is left
// alone by what we do meanwhile (relaxed).
class Here {
 public:
  explicit Here(const Shared& shared) : status(shared.state()) {
    if (!status) return;
    entered_ = cudaGetDevice(&before_) == cudaSuccess && cudaThreadExchangeStreamCaptureMode(&mode_) == cudaSuccess;
    status = shared.check(cudaSetDevice(shared.ordinal), "cudaSetDevice");
  }
  ~Here() {
    if (!entered_) return;
    cudaThreadExchangeStreamCaptureMode(&mode_);
    cudaSetDevice(before_);
  }
  Here(const Here&) = delete;
  Here& operator=(const Here&) = delete;
  Status status;

 private:
  int before_ = 0;
  cudaStreamCaptureMode mode_ = cudaStreamCaptureModeRelaxed;
  bool entered_ = false;
};

class CudaEvent final : public Event {
 public:
  CudaEvent(Owner shared, cudaEvent_t event) : shared_(std::move(shared)), event_(event) {}
  ~CudaEvent() override { cudaEventDestroy(event_); }
  [[nodiscard]] Result<bool> reached() const override {
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    const cudaError_t now = cudaEventQuery(event_);
    if (now == cudaErrorNotReady) return false;
    if (Status s = shared_->check(now, "cudaEventQuery"); !s) return s.error();
    return true;
  }
  Owner shared_;
  cudaEvent_t event_;
};

class CudaStream final : public Stream {
 public:
  CudaStream(Owner shared, cudaStream_t stream, bool owned)
      : shared_(std::move(shared)), stream_(stream), owned_(owned) {}
  ~CudaStream() override {
    if (!owned_) return;
    if (finish(now() + kDropWait).code() == Code::kTimeout)
      (void)shared_->lost("a stream that was dropped holds a step that does not end").ok();
    cudaStreamDestroy(stream_);
  }

  Status copy(void* to, const void* from, std::size_t bytes) override {
    return call("cudaMemcpyAsync", [&] {
      return bytes == 0 ? cudaSuccess : cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_);
    });
  }
  Status zero(void* at, std::size_t bytes) override {
    return call("cudaMemsetAsync", [&] { return bytes == 0 ? cudaSuccess : cudaMemsetAsync(at, 0, bytes, stream_); });
  }
  Status launch(const Launch& kernel) override {
    const void* entry = kernels::cuda::entry_of(kernel);
    if (entry == nullptr || kernel.ctas == 0) return {Code::kInvalid, "a launch of nothing that a GPU knows"};
    void* arguments[] = {const_cast<std::byte*>(kernel.arguments.data())};
    return call("cudaLaunchKernel", [&] {
      return cudaLaunchKernel(entry, dim3(kernel.ctas), dim3(kernel.threads), arguments, 0, stream_);
    });
  }
  Status record(Event& event) override {
    return call("cudaEventRecord", [&] { return cudaEventRecord(static_cast<CudaEvent&>(event).event_, stream_); });
  }
  Status wait(const Event& event) override {
    return call("cudaStreamWaitEvent",
                [&] { return cudaStreamWaitEvent(stream_, static_cast<const CudaEvent&>(event).event_, 0); });
  }
  Status raise(Flag flag, std::uint32_t value) override {
    return driver("cuStreamWriteValue32",
                  [&] { return shared_->driver.write(stream_, address(flag), value, CU_STREAM_WRITE_VALUE_DEFAULT); });
  }
  Status wait(Flag flag, std::uint32_t at_least) override {
    return driver("cuStreamWaitValue32",
                  [&] { return shared_->driver.wait(stream_, address(flag), at_least, CU_STREAM_WAIT_VALUE_GEQ); });
  }
  Status call(std::function<void()> function) override {
    auto* argument = new std::function<void()>(std::move(function));
    const auto run = [](void* at) {
      const std::unique_ptr<std::function<void()>> f(static_cast<std::function<void()>*>(at));
      (*f)();
    };
    const Status queued = call("cudaLaunchHostFunc", [&] { return cudaLaunchHostFunc(stream_, run, argument); });
    if (!queued) delete argument;
    return queued;
  }
  [[nodiscard]] Result<bool> capturing() const override {
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    if (Status s = shared_->check(cudaStreamIsCapturing(stream_, &status), "cudaStreamIsCapturing"); !s) return s.error();
    return status != cudaStreamCaptureStatusNone;
  }
  Status finish(Instant deadline) override {
    for (;;) {
      const Here here(*shared_);
      if (!here.status) return here.status;
      const cudaError_t state = cudaStreamQuery(stream_);
      if (state != cudaErrorNotReady) return shared_->check(state, "cudaStreamQuery");
      if (now() >= deadline) return {Code::kTimeout, "steps are still under way"};
      std::this_thread::sleep_for(std::chrono::nanoseconds(kLook.ns));
    }
  }
  [[nodiscard]] void* native() override { return stream_; }

 private:
  template <class F>
  Status call(const char* name, F f) {
    const Here here(*shared_);
    if (!here.status) return here.status;
    return shared_->check(f(), name);
  }
  template <class F>
  Status driver(const char* name, F f) {
    const Here here(*shared_);
    if (!here.status) return here.status;
    const CUresult result = f();
    return result == CUDA_SUCCESS ? Status{}
                                  : shared_->lost(std::string(name) + ": CUDA driver error " + std::to_string(result));
  }
  static CUdeviceptr address(Flag flag) {
    return reinterpret_cast<CUdeviceptr>(flag.word);
  }  // mapped, one address for both

  Owner shared_;
  cudaStream_t stream_;
  bool owned_;
};

class CudaDevice final : public Device {
 public:
  CudaDevice(Owner shared, std::string name) : shared_(std::move(shared)), name_(std::move(name)) {}
  [[nodiscard]] const char* name() const override { return name_.c_str(); }
  Result<void*> allocate(Memory kind, std::size_t bytes) override {
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    void* memory = nullptr;
    const std::size_t size = bytes == 0 ? 1 : bytes;
    const cudaError_t error = kind == Memory::kDevice
                                  ? cudaMalloc(&memory, size)
                                  : cudaHostAlloc(&memory, size, cudaHostAllocPortable | cudaHostAllocMapped);
    if (Status s = shared_->check(error, "allocation of memory"); !s) return s.error();
    return memory;
  }
  void free(Memory kind, void* memory) override {
    const Here here(*shared_);
    if (!here.status) return;  // it went with the device
    (void)shared_->check(kind == Memory::kDevice ? cudaFree(memory) : cudaFreeHost(memory), "cudaFree").ok();
  }
  [[nodiscard]] Result<Memory> kind_of(const void* memory) const override {
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    cudaPointerAttributes a{};
    if (Status s = shared_->check(cudaPointerGetAttributes(&a, memory), "cudaPointerGetAttributes"); !s)
      return s.error();
    if (a.type == cudaMemoryTypeHost) return Memory::kPinned;
    if (a.type == cudaMemoryTypeDevice && a.device == shared_->ordinal) return Memory::kDevice;
    return {Code::kInvalid, std::string("memory that is not of ") + name()};
  }
  Result<Loan> lend(const void* memory) override {
    const Result<Memory> kind = kind_of(memory);
    if (!kind) return kind.error();
    if (*kind != Memory::kDevice) return {Code::kInvalid, "memory that is not kDevice"};
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    const Loan loan = cuda::lend(shared_->driver.addresses, shared_->ordinal, memory);
    if (loan.maker == 0) return {Code::kUnsupported, "memory that CUDA IPC cannot export: not from cudaMalloc"};
    return loan;
  }
  Result<const std::byte*> open(const Loan& loan) override {
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    const std::byte* at = nullptr;
    bool foreign = false;
    // Whatever it says is about that memory, or its owner, who may be dying: this device is not lost by it.
    if (const cudaError_t error = cuda::open(loan, shared_->ordinal, at, foreign); error != cudaSuccess) {
      (void)cudaGetLastError();
      return {error == cudaErrorNotSupported ? Code::kUnsupported : Code::kUnavailable,
              std::string("device memory of a peer: ") + cudaGetErrorString(error) + " (CUDA error " + std::to_string(error) + ")"};
    }
    if (foreign) {
      std::lock_guard lock(shared_->mutex);
      shared_->opened.insert(at);
    }
    return at;
  }
  void close(const std::byte* allocation) override {
    const Here here(*shared_);
    if (!here.status) return;
    bool foreign = false;
    {
      std::lock_guard lock(shared_->mutex);
      const auto at = shared_->opened.find(allocation);
      foreign = at != shared_->opened.end();
      if (foreign) shared_->opened.erase(at);
    }
    cuda::close(allocation, foreign);
  }
  Result<Flag> make_flag() override {
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    std::lock_guard lock(shared_->mutex);
    if (shared_->used == kFlagsAtOnce) {
      void* page = nullptr;
      if (cudaHostAlloc(&page, kFlagsAtOnce * kFlagBytes, cudaHostAllocPortable | cudaHostAllocMapped) != cudaSuccess)
        return {Code::kNoMemory, "no pinned memory for flags"};
      shared_->flags.push_back(static_cast<std::byte*>(page));
      shared_->used = 0;
    }
    std::byte* at = shared_->flags.back() + kFlagBytes * shared_->used++;
    return Flag{new (at) std::atomic<std::uint32_t>(0)};
  }
  Result<std::unique_ptr<Event>> make_event() override {
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    cudaEvent_t event = nullptr;
    if (Status s = shared_->check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreate"); !s)
      return s.error();
    return std::unique_ptr<Event>(new CudaEvent(shared_, event));
  }
  Result<std::unique_ptr<Stream>> make_stream() override {
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    cudaStream_t stream = nullptr;
    if (Status s = shared_->check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate"); !s)
      return s.error();
    return std::unique_ptr<Stream>(new CudaStream(shared_, stream, true));
  }
  Result<std::unique_ptr<Stream>> borrow(void* native) override {  // null: the legacy default stream
    const Here here(*shared_);
    if (!here.status) return here.status.error();
    int of = shared_->ordinal;
    if (native != nullptr)
      if (Status s = shared_->check(cudaStreamGetDevice(static_cast<cudaStream_t>(native), &of), "cudaStreamGetDevice"); !s)
        return s.error();
    if (of != shared_->ordinal) return {Code::kInvalid, "a stream that is not of " + name_};
    return std::unique_ptr<Stream>(new CudaStream(shared_, static_cast<cudaStream_t>(native), false));
  }
  [[nodiscard]] bool host_reads() const override { return false; }
  [[nodiscard]] bool may_stall() const override { return true; }
  [[nodiscard]] std::shared_ptr<void> scope() override { return std::make_shared<Here>(*shared_); }
  Status enter() override {
    if (Status s = shared_->state(); !s) return s;
    return shared_->check(cudaSetDevice(shared_->ordinal), "cudaSetDevice");
  }
  [[nodiscard]] Status health() const override { return shared_->state(); }

 private:
  Owner shared_;
  std::string name_;
};

// Loads every kernel now: loading one later may wait for streams, which may wait for us.
Status load_kernels(const Shared& shared) {
  std::vector<Launch> all = {launch_of(Copy{}, 1), launch_of(Digest{}, 1), launch_of(Pieces{}, 1), launch_of(Quantise{}, 1),
                             launch_of(DequantiseAdd{}, 1)};
  for (int type = 0; type < kDataTypeCount; ++type) {
    Divide divide{};
    divide.type = static_cast<DataType>(type);
    all.push_back(launch_of(divide, 1));
    for (int op = 0; op < kReduceOpCount; ++op) {
      Reduce reduce{};
      reduce.type = divide.type;
      reduce.op = static_cast<ReduceOp>(op);
      all.push_back(launch_of(reduce, 1));
    }
  }
  for (const Launch& launch : all) {
    cudaFuncAttributes attributes{};
    if (const void* entry = kernels::cuda::entry_of(launch); entry != nullptr)
      if (Status s = shared.check(cudaFuncGetAttributes(&attributes, entry), "loading a kernel"); !s) return s;
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Device>> make_cuda_device(int ordinal) {
  int count = 0;
  const cudaError_t there = cudaGetDeviceCount(&count);
  if (there == cudaErrorInsufficientDriver || there == cudaErrorNoDevice || (there == cudaSuccess && count == 0))
    return {Code::kUnavailable,
            std::string("no GPU here: ") + cudaGetErrorString(there == cudaSuccess ? cudaErrorNoDevice : there)};
  auto shared = std::make_shared<Shared>();
  if (Status s = shared->check(there, "cudaGetDeviceCount"); !s) return s.error();
  if (ordinal < 0 || ordinal >= count)
    return {Code::kUnavailable, "no GPU " + std::to_string(ordinal) + ": there are " + std::to_string(count)};
  shared->ordinal = ordinal;
  cudaDeviceProp properties{};
  if (Status s = shared->check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties"); !s)
    return s.error();
  const Here here(*shared);
  if (!here.status) return here.status.error();
  if (Status s = shared->check(cudaFree(nullptr), "making a context"); !s) return s.error();
  if (Status s = load_kernels(*shared); !s) return s.error();
  if (Status s = shared->check(find("cuStreamWriteValue32", shared->driver.write), "cuStreamWriteValue32"); !s)
    return s.error();
  if (Status s = shared->check(find("cuStreamWaitValue32", shared->driver.wait), "cuStreamWaitValue32"); !s)
    return s.error();
  if (Status s = shared->check(find("cuMemGetAddressRange", shared->driver.addresses.range), "cuMemGetAddressRange"); !s)
    return s.error();
  if (Status s = shared->check(find("cuPointerGetAttribute", shared->driver.addresses.attribute), "cuPointerGetAttribute"); !s)
    return s.error();
  return std::unique_ptr<Device>(new CudaDevice(shared, "cuda:" + std::to_string(ordinal) + " " + properties.name));
}

}  // namespace regroup::device

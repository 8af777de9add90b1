#include "bench/device/gemm.h"

#include <dlfcn.h>

#include <array>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace regroup::bench {
namespace {

constexpr std::size_t kElement = 2;  // bytes of a bf16

// Three matrices of zeroes: a product takes as long whatever is in them, but for the power that a GPU draws.
class Matrices {
 public:
  explicit Matrices(device::Device& device) : device_(device) {}
  ~Matrices() {
    for (void* memory : at_)
      if (memory != nullptr) device_.free(device::Memory::kDevice, memory);
  }
  Status make(std::size_t bytes) {
    auto stream = device_.make_stream();
    if (!stream) return stream.error();
    for (void*& memory : at_) {
      Result<void*> made = device_.allocate(device::Memory::kDevice, bytes);
      if (!made) return made.error();
      memory = *made;
      if (Status s = (*stream)->zero(memory, bytes); !s) return s;
    }
    return (*stream)->finish(now() + Duration::from_s(60));
  }
  [[nodiscard]] void* operator[](std::size_t i) const { return at_[i]; }

 private:
  device::Device& device_;
  std::array<void*, 3> at_{};
};

struct HostProduct {
  const std::uint16_t *a, *b;
  std::uint16_t* c;
  std::size_t n;
};

void multiply(const void* arguments) {
  const auto& p = *static_cast<const HostProduct*>(arguments);
  for (std::size_t i = 0; i < p.n; ++i)
    for (std::size_t j = 0; j < p.n; ++j) {
      std::uint32_t sum = 0;
      for (std::size_t k = 0; k < p.n; ++k) sum += std::uint32_t{p.a[i * p.n + k]} * p.b[k * p.n + j];
      p.c[i * p.n + j] = static_cast<std::uint16_t>(sum);
    }
}

class HostGemm final : public Gemm {
 public:
  HostGemm(device::Device& device, std::size_t n) : m_(device), n_(n) {}
  Status open() { return m_.make(n_ * n_ * kElement); }
  Status queue(device::Stream& stream) override {
    const HostProduct p{static_cast<std::uint16_t*>(m_[0]), static_cast<std::uint16_t*>(m_[1]), static_cast<std::uint16_t*>(m_[2]), n_};
    return stream.launch(device::Launch::of(multiply, p));
  }
  [[nodiscard]] const char* name() const override { return "loops"; }

 private:
  Matrices m_;
  std::size_t n_;
};

// What is called of cuBLAS, by its documentation of cublasGemmEx; values of its enumerations: N 0, CUDA_R_16BF 14,
// CUBLAS_COMPUTE_32F 68, CUBLAS_GEMM_DEFAULT -1. Every function gives 0 for success.
class CublasGemm final : public Gemm {
 public:
  CublasGemm(device::Device& device, std::size_t n) : m_(device), n_(static_cast<int>(n)) {}
  ~CublasGemm() override {
    if (handle_ != nullptr) destroy_(handle_);  // the library stays loaded
  }
  Status open(const std::string& given) {
    void* library = nullptr;
    for (const char* name : {given.c_str(), "libcublas.so.13", "libcublas.so.12"})
      if (library == nullptr && *name != '\0' && (given.empty() || name == given.c_str())) library = ::dlopen(name, RTLD_NOW);
    if (library == nullptr) return {Code::kUnavailable, std::string("cuBLAS: ") + ::dlerror()};
    const auto find = [library](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(::dlsym(library, name));
      return function != nullptr;
    };
    int (*create)(void**) = nullptr;
    if (!find(create, "cublasCreate_v2") || !find(destroy_, "cublasDestroy_v2") || !find(set_stream_, "cublasSetStream_v2") ||
        !find(gemm_, "cublasGemmEx"))
      return {Code::kUnavailable, "cuBLAS: the library lacks what is called of it"};
    if (Status s = m_.make(static_cast<std::size_t>(n_) * static_cast<std::size_t>(n_) * kElement); !s) return s;
    const int status = create(&handle_);
    return status == 0 ? Status{} : Status{Code::kSystem, "cublasCreate: status " + std::to_string(status)};
  }
  Status queue(device::Stream& stream) override {
    const float one = 1, zero = 0;
    int status = set_stream_(handle_, stream.native());
    if (status == 0)
      status = gemm_(handle_, 0, 0, n_, n_, n_, &one, m_[0], 14, n_, m_[1], 14, n_, &zero, m_[2], 14, n_, 68, -1);
    return status == 0 ? Status{} : Status{Code::kSystem, "cublasGemmEx: status " + std::to_string(status)};
  }
  [[nodiscard]] const char* name() const override { return "cuBLAS"; }

 private:
  Matrices m_;
  const int n_;
  void* handle_ = nullptr;
  int (*destroy_)(void*) = nullptr;
  int (*set_stream_)(void*, void*) = nullptr;
  int (*gemm_)(void*, int, int, int, int, int, const void*, const void*, int, int, const void*, int, int, const void*, void*, int, int,
               int, int) = nullptr;
};

template <class G, class... Args>
Result<std::unique_ptr<Gemm>> opened(device::Device& device, std::size_t n, Args&&... args) {
  auto gemm = std::make_unique<G>(device, n);
  if (Status s = gemm->open(args...); !s) return s.error();
  return std::unique_ptr<Gemm>(std::move(gemm));
}

}  // namespace

Result<std::unique_ptr<Gemm>> Gemm::make(device::Device& device, std::size_t n, const std::string& library) {
  if (std::string_view(device.name()) == "host") return opened<HostGemm>(device, n);
  return opened<CublasGemm>(device, n, library);
}

}  // namespace regroup::bench

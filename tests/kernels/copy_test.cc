// copy(): every length, alignment, store and target; nothing outside is touched.
#include <catch2/catch.hpp>
#include <cstring>

#include "base/rng.h"
#include "kernels/host/table.h"
#include "kernels/kernels.h"

namespace regroup {
namespace {

template <class Copy>
void check(const char* name, Copy copy) {
  constexpr std::size_t size = 8192;
  alignas(64) static std::uint8_t src[size];
  alignas(64) static std::uint8_t dst[size];
  alignas(64) static std::uint8_t want[size];
  Rng rng(11);
  for (auto& b : src) b = static_cast<std::uint8_t>(rng.next());
  std::vector<std::size_t> lengths;
  for (std::size_t n = 0; n < 400; ++n) lengths.push_back(n);
  for (const std::size_t n : {511, 512, 1000, 2047, 4096, 5000}) lengths.push_back(n);
  for (const std::size_t n : lengths) {
    for (const std::size_t to : {0, 1, 15, 16, 32, 63}) {
      for (const std::size_t from : {0, 1, 33}) {
        std::memset(dst, 0xa5, size);
        std::memset(want, 0xa5, size);
        for (std::size_t i = 0; i < n; ++i) want[64 + to + i] = src[from + i];
        copy(dst + 64 + to, src + from, n);
        if (std::memcmp(dst, want, size) != 0) FAIL(name << " n=" << n << " to+" << to << " from+" << from);
      }
    }
  }
  SUCCEED();
}

}  // namespace

TEST_CASE("copy moves exactly the bytes asked for, with both stores and on every target") {
  using kernels::Store;
  check("cached", [](void* d, const void* s, std::size_t n) { kernels::copy(d, s, n, Store::kCached); });
  check("stream", [](void* d, const void* s, std::size_t n) { kernels::copy(d, s, n, Store::kStream); });
  for (const auto& table : kernels::host::tables()) check(table.name, table.stream_copy);
}

TEST_CASE("an empty copy may have null pointers") {
  kernels::copy(nullptr, nullptr, 0);
  kernels::copy(nullptr, nullptr, 0, kernels::Store::kStream);
  const void* const sources[] = {nullptr, nullptr};
  kernels::reduce(DataType::kF32, ReduceOp::kSum, nullptr, sources, 0, kernels::Store::kStream);
  SUCCEED();
}

}  // namespace regroup

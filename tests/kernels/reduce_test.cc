// reduce(): every type, operation, number of sources, alignment, count, store and SIMD target, bit for bit.
#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <string>

#include "kernels/host/table.h"
#include "kernels/kernels.h"
#include "tests/kernels/inputs.h"
#include "tests/kernels/reference.h"

namespace regroup {
namespace {

using namespace testing;
using kernels::Store;

constexpr std::size_t kGuard = 128;
constexpr std::uint8_t kPoison = 0xa5;

// What is under test: the public function, or the table of one target.
struct Subject {
  std::string name;
  std::function<void(DataType, ReduceOp, void*, std::span<const void* const>, std::size_t, Store)> reduce;
};

std::vector<Subject> subjects() {
  std::vector<Subject> all{{"public", &kernels::reduce}};
  for (const auto& table : kernels::host::tables()) {
    all.push_back({table.name, [&table](DataType type, ReduceOp op, void* dst, std::span<const void* const> sources,
                                        std::size_t count, Store store) {
                     if (sources.size() == 1) return kernels::reduce(type, op, dst, sources, count, store);
                     table.reduce[static_cast<std::size_t>(type)][static_cast<std::size_t>(op)](
                         static_cast<std::uint8_t*>(dst), reinterpret_cast<const std::uint8_t* const*>(sources.data()),
                         sources.size(), count * size_of(type), store == Store::kStream);
                   }});
  }
  return all;
}

// A 64-byte aligned buffer with guards, in which data may begin at any offset.
class Guarded {
 public:
  explicit Guarded(std::size_t bytes) : memory_(bytes + 2 * kGuard + 64) {}
  std::uint8_t* place(std::size_t offset) {
    std::memset(memory_.data(), kPoison, memory_.size());
    const auto base = reinterpret_cast<std::uintptr_t>(memory_.data()) + kGuard;
    return data_ = memory_.data() + kGuard + (64 - base % 64) % 64 % 64 + offset % 64;
  }
  [[nodiscard]] bool untouched_outside(std::size_t bytes) const {
    const auto poison = [](std::uint8_t b) { return b == kPoison; };
    return std::all_of(memory_.data(), static_cast<const std::uint8_t*>(data_), poison) &&
           std::all_of(static_cast<const std::uint8_t*>(data_) + bytes, memory_.data() + memory_.size(), poison);
  }

 private:
  Buffer memory_;
  std::uint8_t* data_ = nullptr;
};

struct Layout {
  std::size_t dst, first, other;  // offsets from a 64-byte boundary, in bytes
  int in_place;                   // -1: no; else dst is source in_place % k
};

// One case; the message of what went wrong, or none.
std::string run_case(const Subject& subject, DataType type, ReduceOp op, const std::vector<Buffer>& inputs,
                     const Buffer& expected, std::size_t count, Store store, Layout layout) {
  const std::size_t bytes = count * size_of(type);
  const std::size_t k = inputs.size();
  static std::vector<Guarded> memory(9, Guarded(16384));  // dst, then the sources
  REQUIRE(k < memory.size());
  std::uint8_t* dst = memory[0].place(layout.dst);
  std::vector<const void*> sources;
  for (std::size_t j = 0; j < k; ++j) {
    const bool same = layout.in_place >= 0 && static_cast<std::size_t>(layout.in_place) % k == j;
    std::uint8_t* p = same ? dst : memory[j + 1].place(j == 0 ? layout.first : layout.other + 8 * j);
    std::memcpy(p, inputs[j].data(), bytes);
    sources.push_back(p);
  }
  subject.reduce(type, op, dst, sources, count, store);
  if (std::memcmp(dst, expected.data(), bytes) != 0) {
    std::size_t i = 0;
    while (std::memcmp(dst + i * size_of(type), expected.data() + i * size_of(type), size_of(type)) == 0) ++i;
    std::uint64_t got = 0;
    std::uint64_t want = 0;
    std::memcpy(&got, dst + i * size_of(type), size_of(type));
    std::memcpy(&want, expected.data() + i * size_of(type), size_of(type));
    char text[160];
    std::snprintf(text, sizeof text, "wrong element %zu: got %llx, want %llx", i, static_cast<unsigned long long>(got),
                  static_cast<unsigned long long>(want));
    return text;
  }
  if (!memory[0].untouched_outside(bytes)) return "wrote outside of dst";
  for (std::size_t j = 0; j < k; ++j) {
    if (sources[j] != dst && std::memcmp(sources[j], inputs[j].data(), bytes) != 0) return "changed a source";
  }
  return {};
}

void check_all(DataType type, const std::vector<std::size_t>& ks, const std::vector<std::size_t>& counts) {
  const std::size_t size = size_of(type);
  const Layout layouts[] = {{0, 0, 0, -1}, {size, 0, size, -1}, {1, 3, 5, -1},       {64 - size, 13, 0, -1},
                            {0, 0, 0, 0},  {size, 7, 0, 1},     {3, 0, 64 - size, 2}};
  const std::vector<Subject> all = subjects();
  std::size_t cases = 0;
  for (const std::size_t k : ks) {
    for (const Flavour flavour : kFlavours) {
      const auto inputs = make_inputs(type, flavour, counts.back(), k, 1);
      for (int o = 0; o < kReduceOpCount; ++o) {
        const auto op = static_cast<ReduceOp>(o);
        // One source is a copy: a NaN keeps its payload.
        const Buffer expected = k == 1 ? inputs[0] : reference_reduce(type, op, inputs);
        for (const auto& subject : all) {
          for (const std::size_t count : counts) {
            for (const Layout& layout : layouts) {
              for (const Store store : {Store::kCached, Store::kStream}) {
                const std::string wrong = run_case(subject, type, op, inputs, expected, count, store, layout);
                ++cases;
                if (wrong.empty()) continue;
                FAIL(subject.name << " " << name_of(type) << " " << name_of(op) << " k=" << k << " count=" << count
                                  << " flavour=" << static_cast<int>(flavour) << " dst+" << layout.dst << " in_place="
                                  << layout.in_place << " stream=" << (store == Store::kStream) << ": " << wrong);
              }
            }
          }
        }
      }
    }
  }
  CHECK(cases == ks.size() * 3 * 5 * all.size() * counts.size() * 7 * 2);
}

const std::vector<std::size_t> kCounts{0,  1,  2,  3,  4,   5,   7,   8,   9,   15,  16,  17,  31,  32,
                                       33, 63, 64, 65, 127, 128, 129, 191, 255, 257, 383, 511, 777, 1000};

template <class T>
Buffer bytes_of(std::initializer_list<T> values) {
  Buffer out(values.size() * sizeof(T));
  std::memcpy(out.data(), values.begin(), out.size());
  return out;
}

Buffer small_floats(const SmallFloat& format, std::initializer_list<double> values) {
  std::vector<std::uint16_t> bits;
  for (const double v : values) bits.push_back(format.encode(v));
  Buffer out(2 * bits.size());
  std::memcpy(out.data(), bits.data(), out.size());
  return out;
}

// Folds through the public function and compares with what a person worked out.
void expect(DataType type, ReduceOp op, const std::vector<Buffer>& inputs, const Buffer& expected) {
  std::vector<const void*> sources;
  for (const Buffer& b : inputs) sources.push_back(b.data());
  Buffer out(expected.size());
  kernels::reduce(type, op, out.data(), sources, out.size() / size_of(type));
  CHECK(out == expected);
  CHECK(reference_reduce(type, op, inputs) == expected);
}

}  // namespace

TEST_CASE("this machine runs at least one SIMD target and the scalar one") {
  const auto tables = kernels::host::tables();
  REQUIRE(!tables.empty());
  CHECK(std::string(tables.back().name) == "scalar");
  CHECK(std::string(kernels::target_name()) == tables.front().name);
  std::string names;
  for (const auto& table : tables) names += std::string(table.name) + " ";
  WARN("targets: " << names);
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) CHECK(tables.size() >= 3);
#endif
}

TEST_CASE("reduce gives the reference's bits for every operation, alignment, count, store and target") {
  const int t = GENERATE(range(0, kDataTypeCount));
  const auto type = static_cast<DataType>(t);
  DYNAMIC_SECTION(name_of(type)) { check_all(type, {1, 2, 3, 4, 5, 8}, kCounts); }
}

TEST_CASE("every 16-bit float is folded with every kind of partner as the reference says") {
  for (const DataType type : {DataType::kF16, DataType::kBF16}) {
    Buffer every(2 * 65536);
    for (std::uint32_t i = 0; i < 65536; ++i) std::memcpy(every.data() + 2 * i, &i, 2);
    Rng rng(7);
    const std::vector<Buffer> inputs{every, make_input(type, Flavour::kCorners, 65536, rng),
                                     make_input(type, Flavour::kSimilar, 65536, rng)};
    std::vector<const void*> sources;
    for (const Buffer& b : inputs) sources.push_back(b.data());
    for (int o = 0; o < kReduceOpCount; ++o) {
      const auto op = static_cast<ReduceOp>(o);
      const Buffer expected = reference_reduce(type, op, inputs);
      for (const auto& subject : subjects()) {
        INFO(subject.name << " " << name_of(type) << " " << name_of(op));
        Buffer out(every.size(), kPoison);
        subject.reduce(type, op, out.data(), sources, 65536, Store::kStream);
        CHECK(out == expected);
      }
    }
  }
}

TEST_CASE("an average divides by the number of sources, also by more than a byte holds") {
  for (const std::size_t k : {6, 7, 100, 129, 256, 300, 1000, 1024}) {
    for (int t = 0; t < kDataTypeCount; ++t) {
      const auto type = static_cast<DataType>(t);
      const auto inputs = make_inputs(type, Flavour::kSimilar, 97, k, 3);
      std::vector<const void*> sources;
      for (const Buffer& b : inputs) sources.push_back(b.data());
      const Buffer expected = reference_reduce(type, ReduceOp::kAvg, inputs);
      for (const auto& subject : subjects()) {
        INFO(subject.name << " " << name_of(type) << " k=" << k);
        Buffer out(expected.size(), kPoison);
        subject.reduce(type, ReduceOp::kAvg, out.data(), sources, 97, Store::kCached);
        CHECK(out == expected);
      }
    }
  }
}

TEST_CASE("results that a person worked out") {
  using enum DataType;
  using enum ReduceOp;
  // Above 2048 a half counts in twos: 2049 and 2051 lie half way, and go to the even neighbour.
  expect(kF16, kSum, {small_floats(kHalf, {2048, 2048}), small_floats(kHalf, {1, 3})},
         small_floats(kHalf, {2048, 2052}));
  expect(kBF16, kSum, {small_floats(kBrain, {256, 256}), small_floats(kBrain, {1, 3})},
         small_floats(kBrain, {256, 260}));
  // Rounded once: rounding after each step would lose both ones.
  expect(kF16, kSum, {small_floats(kHalf, {2048}), small_floats(kHalf, {1}), small_floats(kHalf, {1})},
         small_floats(kHalf, {2050}));
  expect(kBF16, kSum, {small_floats(kBrain, {256}), small_floats(kBrain, {1}), small_floats(kBrain, {1})},
         small_floats(kBrain, {258}));
  // 65504 is the largest half; 65520 and more is infinite.
  expect(kF16, kSum, {small_floats(kHalf, {65504, 65504}), small_floats(kHalf, {15, 16})},
         small_floats(kHalf, {65504, 65536}));
  // Left to right: (2^24 + 1) + 1 stays, (1 + 1) + 2^24 does not.
  expect(kF32, kSum, {bytes_of({16777216.f, 1.f}), bytes_of({1.f, 1.f}), bytes_of({1.f, 16777216.f})},
         bytes_of({16777216.f, 16777218.f}));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  expect(kF32, kMin, {bytes_of({0.f, -0.f, nan, 1.f, inf}), bytes_of({-0.f, 0.f, 1.f, nan, -inf})},
         bytes_of({-0.f, -0.f, nan, nan, -inf}));
  expect(kF32, kMax, {bytes_of({0.f, -0.f, nan, 1.f, -0.f}), bytes_of({-0.f, 0.f, 1.f, nan, -0.f})},
         bytes_of({0.f, 0.f, nan, nan, -0.f}));
  expect(kF32, kSum, {bytes_of({inf, -0.f}), bytes_of({-inf, -0.f})}, bytes_of({nan, -0.f}));
  expect(kI8, kSum, {bytes_of<std::int8_t>({127, -128}), bytes_of<std::int8_t>({1, -1})},
         bytes_of<std::int8_t>({-128, 127}));
  expect(kI32, kAvg, {bytes_of({-7, 7}), bytes_of({0, 0})}, bytes_of({-3, 3}));
  expect(kU64, kAvg, {bytes_of<std::uint64_t>({~0ull}), bytes_of<std::uint64_t>({0}), bytes_of<std::uint64_t>({0})},
         bytes_of<std::uint64_t>({0x5555555555555555ull}));
}

TEST_CASE("nothing outside of the buffers is read or written, down to the page") {
  constexpr std::size_t page = 4096;
  const auto page_between_walls = [] {
    void* p = ::mmap(nullptr, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(p != MAP_FAILED);
    auto* data = static_cast<std::uint8_t*>(p) + page;
    REQUIRE(::mprotect(data, page, PROT_READ | PROT_WRITE) == 0);
    std::memset(data, 0, page);
    return data;
  };
  std::uint8_t* a = page_between_walls();
  std::uint8_t* b = page_between_walls();
  std::uint8_t* dst = page_between_walls();
  for (const auto& subject : subjects()) {
    for (int t = 0; t < kDataTypeCount; ++t) {
      for (int o = 0; o < kReduceOpCount; ++o) {
        const auto type = static_cast<DataType>(t);
        for (const std::size_t count : kCounts) {
          const std::size_t bytes = count * size_of(type);
          if (bytes > page) continue;
          for (const std::size_t at : {std::size_t{0}, page - bytes}) {
            for (const Store store : {Store::kCached, Store::kStream}) {
              const void* const sources[] = {a + at, b + at};
              subject.reduce(type, static_cast<ReduceOp>(o), dst + at, sources, count, store);
              kernels::copy(dst + at, a + at, bytes, store);
            }
          }
        }
      }
    }
  }
  for (std::uint8_t* p : {a, b, dst}) ::munmap(p - page, 3 * page);
  SUCCEED("no fault");
}

}  // namespace regroup

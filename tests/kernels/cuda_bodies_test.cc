// What a thread of a CUDA kernel does, compiled for the host and run thread after thread, against the host twin of the
// same launch: every type, operation, alignment, size of grid. On a GPU device_test runs the kernels themselves.
#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "kernels/cuda/bodies.h"
#include "tests/kernels/inputs.h"

using namespace regroup;
using namespace regroup::kernels;
using namespace regroup::testing;
using device::launch_of;

namespace {

constexpr std::size_t kCounts[] = {0, 1, 3, 15, 16, 17, 64, 257, 1003};
constexpr std::size_t kGrids[] = {1, 7, 64};
constexpr DataType kTypes[] = {DataType::kF64, DataType::kF32, DataType::kF16, DataType::kBF16, DataType::kI8,
                               DataType::kU8,  DataType::kI32, DataType::kU32, DataType::kI64,  DataType::kU64};

// All threads of a grid, the last one first.
template <class Body>
void grid(std::size_t threads, Body body) {
  for (std::size_t first = threads; first-- > 0;) body(first, threads);
}
template <class Arguments>
void twin(const Arguments& a) {
  const device::Launch launch = launch_of(a, 1);
  launch.host(launch.arguments.data());
}

// Memory whose data begins `phase` bytes behind a boundary; the bytes around it must stay.
struct Place {
  Place(std::size_t bytes, std::size_t phase) : memory(bytes + 64, 0xa5), at(memory.data() + 16) {
    at += (16 - reinterpret_cast<std::uintptr_t>(at) % 16) % 16 + phase;
  }
  std::vector<std::uint8_t> memory;
  std::uint8_t* at;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  [[nodiscard]] std::vector<std::uint8_t> seen(std::size_t bytes) const {  // with a little on either side
    return {at - 1, at + bytes + 1};
  }
};

template <DataType kType, ReduceOp kOp>
void check_reduce() {
  constexpr std::size_t kSize = size_of(kType);
  std::size_t round = 0;
  for (const Flavour flavour : kFlavours)
    for (const std::size_t count : kCounts)
      for (const std::size_t grid_size : kGrids) {
        const std::size_t k = 1 + round % 5, apart = round % 3;  // all lie alike; one does not; odd addresses
        const std::size_t phase = apart == 2 ? 1 : kSize * (round % 4) % 16;
        ++round;
        const auto inputs = make_inputs(kType, flavour, count, k, round);
        std::vector<std::unique_ptr<Place>> from;
        device::Reduce a{kType, kOp, static_cast<std::uint32_t>(1 + round % 2), static_cast<std::uint32_t>(k), count,
                         {},    {}};
        for (std::size_t s = 0; s < k; ++s) {
          from.push_back(std::make_unique<Place>(count * kSize, apart == 1 && s == 0 ? (phase + kSize) % 16 : phase));
          std::copy(inputs[s].begin(), inputs[s].end(), from.back()->at);
          a.from[s] = from.back()->at;
        }
        Place want(count * kSize, phase), got(count * kSize, phase), second(count * kSize, phase),
            want2(count * kSize, phase);
        a.to[0] = want.at, a.to[1] = want2.at;
        twin(a);
        a.to[0] = got.at, a.to[1] = second.at;
        grid(grid_size, [&](std::size_t first, std::size_t step) { cuda::reduce_body<kType, kOp>(a, first, step); });
        INFO(name_of(kType) << " " << name_of(kOp) << " count " << count << " sources " << k << " phase " << phase);
        REQUIRE((got.seen(count * kSize) == want.seen(count * kSize)));
        REQUIRE((second.seen(count * kSize) == want2.seen(count * kSize)));
        a.to[0] = const_cast<void*>(a.from[k - 1]), a.outputs = 1;  // in place
        grid(grid_size, [&](std::size_t first, std::size_t step) { cuda::reduce_body<kType, kOp>(a, first, step); });
        REQUIRE((from.back()->seen(count * kSize) == want.seen(count * kSize)));
      }
}
template <DataType kType>
void check_type() {
  check_reduce<kType, ReduceOp::kSum>(), check_reduce<kType, ReduceOp::kAvg>(), check_reduce<kType, ReduceOp::kProd>();
  check_reduce<kType, ReduceOp::kMin>(), check_reduce<kType, ReduceOp::kMax>();
}

template <DataType kType>
void check_divide() {
  std::uint32_t by = 0;
  for (const std::uint32_t divisor : {0u, 1u, 2u, 3u, 7u, 300u, 1000u})
    for (const Flavour flavour : kFlavours) {
      const auto input = make_inputs(kType, flavour, 500, 1, divisor + 1)[0];
      Buffer want = input, got = input;
      by = divisor;
      twin(device::Divide{kType, want.data(), &by, 500});
      grid(13, [&](std::size_t first, std::size_t step) {
        cuda::divide_body<kType>({kType, got.data(), &by, 500}, first, step);
      });
      INFO(name_of(kType) << " by " << divisor);
      REQUIRE((got == want));
    }
}

}  // namespace

TEST_CASE("reduce: threads of a grid give the bits of the host twin, of every type and operation") {
  check_type<DataType::kF64>(), check_type<DataType::kF32>(), check_type<DataType::kF16>(),
      check_type<DataType::kBF16>();
  check_type<DataType::kI8>(), check_type<DataType::kU8>(), check_type<DataType::kI32>(), check_type<DataType::kU32>();
  check_type<DataType::kI64>(), check_type<DataType::kU64>();
}

TEST_CASE("division by a count in memory: threads give the bits of the host twin, of every type") {
  check_divide<DataType::kF64>(), check_divide<DataType::kF32>(), check_divide<DataType::kF16>(),
      check_divide<DataType::kBF16>();
  check_divide<DataType::kI8>(), check_divide<DataType::kU8>(), check_divide<DataType::kI32>(),
      check_divide<DataType::kU32>();
  check_divide<DataType::kI64>(), check_divide<DataType::kU64>();
}

TEST_CASE("copies, lists and digests: threads write and find what the host twin does") {
  for (const std::size_t bytes : {0u, 1u, 7u, 8u, 15u, 16u, 33u, 511u, 4099u})
    for (const std::size_t grid_size : kGrids)
      for (const std::size_t phase : {0u, 1u, 8u}) {
        const Buffer input = random_bytes(bytes + 1, bytes);
        Place from(bytes, phase), to(bytes, (phase + grid_size) % 2 ? phase : 0), flat(bytes, 3);
        std::copy_n(input.begin(), bytes, from.at);
        grid(grid_size,
             [&](std::size_t first, std::size_t step) { cuda::copy_bytes(to.at, from.at, bytes, first, step); });
        REQUIRE(std::equal(from.at, from.at + bytes, to.at));
        REQUIRE((to.at[-1] == 0xa5 && to.at[bytes] == 0xa5));

        std::uint64_t want = 0, got = 0;
        Place again(bytes, 0);
        twin(device::Digest{nullptr, from.at, bytes, &want});
        device::Digest d{phase == 1 ? again.at : nullptr, from.at, bytes, &got};
        grid(grid_size, [&](std::size_t first, std::size_t step) { got += cuda::digest_body(d, first, step); });
        CHECK(got == want);
        if (d.to != nullptr) REQUIRE(std::equal(from.at, from.at + bytes, again.at));
        REQUIRE((again.at[-1] == 0xa5 && again.at[bytes] == 0xa5));

        device::Pieces p{false, 3, reinterpret_cast<std::byte*>(flat.at), {}};
        p.piece[0] = {from.at, bytes / 3}, p.piece[1] = {from.at + bytes / 3, 0},
        p.piece[2] = {from.at + bytes / 3, bytes - bytes / 3};
        grid(grid_size, [&](std::size_t first, std::size_t step) { cuda::pieces_body(p, first, step); });
        REQUIRE(std::equal(from.at, from.at + bytes, flat.at));
        std::fill_n(from.at, bytes, std::uint8_t{0x11});
        p.unpack = true;
        grid(grid_size, [&](std::size_t first, std::size_t step) { cuda::pieces_body(p, first, step); });
        REQUIRE(std::equal(from.at, from.at + bytes, input.begin()));
      }
}

TEST_CASE("quantise and its way back: threads give the codes, scales and sums of the host twin") {
  for (const Code8 code : {Code8::kFp8, Code8::kInt8})
    for (const Flavour flavour : kFlavours)
      for (const std::size_t count : {0u, 1u, 31u, 32u, 33u, 1000u}) {
        const Buffer input = make_inputs(DataType::kBF16, flavour, count, 1, count)[0];
        Buffer codes[2] = {Buffer(count, 0xee), Buffer(count, 0xee)},
               scales[2] = {Buffer(scales_for(count)), Buffer(scales_for(count), 9)};
        twin(device::Quantise{code, codes[0].data(), scales[0].data(), input.data(), count});
        const device::Quantise q{code, codes[1].data(), scales[1].data(), input.data(), count};
        grid(5, [&](std::size_t first, std::size_t step) { cuda::quantise_body(q, first, step); });
        REQUIRE((codes[0] == codes[1] && scales[0] == scales[1]));
        std::vector<float> sums[2] = {std::vector<float>(count, 0.3f), std::vector<float>(count, 0.3f)};
        twin(device::DequantiseAdd{code, sums[0].data(), codes[0].data(), scales[0].data(), count});
        const device::DequantiseAdd d{code, sums[1].data(), codes[0].data(), scales[0].data(), count};
        grid(5, [&](std::size_t first, std::size_t step) { cuda::dequantise_add_body(d, first, step); });
        REQUIRE(std::equal(sums[0].begin(), sums[0].end(), sums[1].begin(),
                           [](float x, float y) { return x == y || (x != x && y != y); }));
      }
}

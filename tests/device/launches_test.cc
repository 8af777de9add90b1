// Every launch of launches.h on every device of this machine against the definition, its host twin on plain memory:
// inputs copied in, results copied out, in streams.
#include "kernels/launches.h"

#include <algorithm>

#include "base/clock.h"
#include "kernels/kernels.h"
#include "tests/device/devices.h"
#include "tests/kernels/inputs.h"

using namespace regroup;
using namespace regroup::device;
using namespace regroup::testing;

namespace {

constexpr std::uint32_t kCtas[] = {1, 3};

Instant bound() { return now() + Duration::from_s(20); }

// Memory of a device and its copy in the host's.
struct Box {
  Box(Device& d, Stream& s, std::size_t n, std::size_t phase_ = 0) : device(d), stream(s), bytes(n), phase(phase_) {
    memory = static_cast<std::byte*>(device.allocate(Memory::kDevice, n + phase + 16).value());
    pinned = static_cast<std::byte*>(device.allocate(Memory::kPinned, n + 16).value());
  }
  ~Box() {
    device.free(Memory::kDevice, memory);
    device.free(Memory::kPinned, pinned);
  }
  Box(const Box&) = delete;
  Box& operator=(const Box&) = delete;
  [[nodiscard]] std::byte* at() const { return memory + phase; }
  void put(const void* from) {
    if (bytes != 0) std::memcpy(pinned, from, bytes);
    REQUIRE(stream.copy(at(), pinned, bytes).ok());
  }
  template <class T = std::uint8_t>
  std::vector<T> get() {
    REQUIRE(stream.copy(pinned, at(), bytes).ok());
    REQUIRE(stream.finish(bound()).ok());
    std::vector<T> out(bytes / sizeof(T));
    if (bytes != 0) std::memcpy(out.data(), pinned, bytes);
    return out;
  }
  Device& device;
  Stream& stream;
  std::size_t bytes, phase;
  std::byte *memory, *pinned;
};

}  // namespace

TEST_CASE("reduce on a device: the bits of the host's, of every type and operation, to one place or two") {
  for (auto& device : devices()) {
    auto stream = device->make_stream().value();
    std::size_t round = 0;
    for (int t = 0; t < kDataTypeCount; ++t)
      for (int o = 0; o < kReduceOpCount; ++o)
        for (const std::size_t count : {0u, 5u, 4099u}) {
          const auto type = static_cast<DataType>(t);
          const auto op = static_cast<ReduceOp>(o);
          const std::size_t k = 1 + round % 4, bytes = count * size_of(type), phase = round % 3 == 0 ? 0 : round % 16;
          const auto inputs = make_inputs(type, kFlavours[round % 3], count, k, round + 1);
          ++round;
          std::vector<std::unique_ptr<Box>> from;
          std::vector<const void*> sources;
          Box to(*device, *stream, bytes, phase), second(*device, *stream, bytes, 0);
          Reduce a{type,
                   op,
                   static_cast<std::uint32_t>(1 + round % 2),
                   static_cast<std::uint32_t>(k),
                   count,
                   {to.at(), second.at()},
                   {}};
          for (std::size_t s = 0; s < k; ++s) {
            from.push_back(std::make_unique<Box>(*device, *stream, bytes, phase));
            from.back()->put(inputs[s].data());
            a.from[s] = from.back()->at();
            sources.push_back(inputs[s].data());
          }
          REQUIRE(stream->launch(launch_of(a, kCtas[round % 2])).ok());
          Buffer want(bytes);
          kernels::reduce(type, op, want.data(), sources, count);
          INFO(device->name() << " " << name_of(type) << " " << name_of(op) << " count " << count << " sources " << k);
          REQUIRE((to.get() == want));
          if (a.outputs == 2) REQUIRE((second.get() == want));
        }
  }
}

TEST_CASE("copies that hang on a word, digests, lists and divisions on a device") {
  for (auto& device : devices()) {
    auto stream = device->make_stream().value();
    const Flag word = device->make_flag().value();
    for (const std::size_t bytes : {0u, 1u, 16u, 1000u, 70'001u}) {
      INFO(device->name() << " bytes " << bytes);
      const Buffer input = random_bytes(bytes, bytes), other = random_bytes(bytes, bytes + 1);
      Box from(*device, *stream, bytes, 1), to(*device, *stream, bytes, 1), flat(*device, *stream, bytes, 3),
          sum(*device, *stream, 8), by(*device, *stream, 4);
      from.put(input.data());
      to.put(other.data());
      REQUIRE(stream->launch(launch_of(Copy{to.at(), from.at(), bytes, word.word, word.value() + 1}, 2)).ok());
      CHECK((to.get() == other));
      word.raise(word.value() + 1);
      REQUIRE(stream->launch(launch_of(Copy{to.at(), from.at(), bytes, word.word, word.value()}, 2)).ok());
      CHECK((to.get() == input));

      REQUIRE(stream->zero(sum.at(), 8).ok());
      REQUIRE(
          stream->launch(launch_of(Digest{flat.at(), from.at(), bytes, reinterpret_cast<std::uint64_t*>(sum.at())}, 3))
              .ok());
      CHECK(sum.get<std::uint64_t>()[0] == kernels::digest(input.data(), bytes));
      CHECK((flat.get() == input));

      std::vector<kernels::Piece> pieces;  // more than one launch takes, from the end to the beginning
      for (std::size_t i = 0; i < 2 * kMaxPieces + 1; ++i) {
        const std::size_t begin = bytes * (2 * kMaxPieces - i) / (2 * kMaxPieces + 1),
                          end = bytes * (2 * kMaxPieces + 1 - i) / (2 * kMaxPieces + 1);
        pieces.push_back({from.at() + begin, end - begin});
      }
      REQUIRE(pack(*stream, flat.at(), pieces, 2).ok());
      Buffer want;
      for (const auto& p : pieces)
        want.insert(want.end(), input.begin() + (static_cast<std::byte*>(p.at) - from.at()),
                    input.begin() + (static_cast<std::byte*>(p.at) - from.at()) + static_cast<std::ptrdiff_t>(p.bytes));
      CHECK((flat.get() == want));
      REQUIRE(stream->zero(from.at(), bytes).ok());
      REQUIRE(unpack(*stream, pieces, flat.at(), 2).ok());
      CHECK((from.get() == input));

      const std::uint32_t three = 3;  // read when it runs, not when it is queued
      Buffer quotient = input;
      kernels::divide(DataType::kI8, quotient.data(), three, bytes);
      const Flag gate = device->make_flag().value();
      REQUIRE(stream->zero(by.at(), 4).ok());
      REQUIRE(stream->wait(gate, 1).ok());
      by.put(&three);
      REQUIRE(stream
                  ->launch(launch_of(
                      Divide{DataType::kI8, from.at(), reinterpret_cast<const std::uint32_t*>(by.at()), bytes}, 1))
                  .ok());
      gate.raise(1);
      CHECK((from.get() == quotient));
    }
  }
}

TEST_CASE("codes of 8 bits on a device, and their way back") {
  for (auto& device : devices()) {
    auto stream = device->make_stream().value();
    for (const kernels::Code8 code : {kernels::Code8::kFp8, kernels::Code8::kInt8})
      for (const Flavour flavour : kFlavours)
        for (const std::size_t count : {0u, 33u, 5000u}) {
          INFO(device->name() << " count " << count);
          const std::size_t blocks = kernels::scales_for(count);
          const Buffer input = make_inputs(DataType::kBF16, flavour, count, 1, count)[0];
          Box from(*device, *stream, count * 2, 2), codes(*device, *stream, count, 1), scales(*device, *stream, blocks),
              sum(*device, *stream, count * 4);
          from.put(input.data());
          REQUIRE(stream->zero(sum.at(), count * 4).ok());
          const auto at = [](const Box& b) { return reinterpret_cast<std::uint8_t*>(b.at()); };
          REQUIRE(stream->launch(launch_of(Quantise{code, at(codes), at(scales), from.at(), count}, 2)).ok());
          REQUIRE(stream
                      ->launch(launch_of(
                          DequantiseAdd{code, reinterpret_cast<float*>(sum.at()), at(codes), at(scales), count}, 2))
                      .ok());
          Buffer want_codes(count), want_scales(blocks);
          std::vector<float> want(count, 0.0f);
          kernels::quantise(code, want_codes.data(), want_scales.data(), input.data(), count);
          kernels::dequantise_add(code, want.data(), want_codes.data(), want_scales.data(), count);
          CHECK((codes.get() == want_codes));
          CHECK((scales.get() == want_scales));
          const auto got = sum.get<float>();
          CHECK(std::equal(want.begin(), want.end(), got.begin(),
                           [](float x, float y) { return x == y || (x != x && y != y); }));
        }
  }
}

#ifdef RG_HAVE_CUDA
TEST_CASE("a CUDA device that is not there is refused with what is missing, again and again") {
  for (int i = 0; i < 2; ++i) {
    Result<std::unique_ptr<Device>> none = make_cuda_device(1000);
    REQUIRE(none.code() == Code::kUnavailable);
    CHECK(none.error().detail.find("no GPU") == 0);
  }
}
#endif

// Pack, unpack, zero, digest, division by a count in memory: against definitions in long hand, any alignment, nothing
// written beside the target.
#include "kernels/lists.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <vector>

#include "base/rng.h"
#include "kernels/kernels.h"

using namespace regroup;
using namespace regroup::kernels;

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes random_bytes(std::size_t n, Rng& rng) {
  Bytes bytes(n);
  for (auto& b : bytes) b = static_cast<std::uint8_t>(rng.next());
  return bytes;
}

// By the header's words, a byte at a time.
std::uint64_t reference_digest(const std::uint8_t* at, std::size_t bytes) {
  const auto mix = [](std::uint64_t z) {
    z ^= z >> 30, z *= 0xbf58476d1ce4e5b9ull;
    z ^= z >> 27, z *= 0x94d049bb133111ebull;
    return z ^ z >> 31;
  };
  std::uint64_t sum = mix(bytes);
  for (std::uint64_t i = 0; i * 8 < bytes; ++i) {
    std::uint64_t w = 0;
    for (std::size_t b = i * 8; b < std::min<std::size_t>(bytes, i * 8 + 8); ++b) w |= std::uint64_t{at[b]} << (8 * (b % 8));
    sum += mix(w + (i + 1) * 0x9e3779b97f4a7c15ull);
  }
  return sum;
}

constexpr std::size_t kSizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 4095, 16'384, 16'385, 40'001, (3u << 20) + 5};

}  // namespace

TEST_CASE("a list that is packed and unpacked is as before, and what lies between its pieces is not touched") {
  Rng rng(1);
  for (const std::size_t scale : {1u, 300u, 200'000u}) {
    Bytes memory = random_bytes(40 * scale + 100, rng);
    std::vector<Piece> pieces;
    for (std::size_t at = 1; pieces.size() < 12; at += 3 * scale + 1)
      pieces.push_back({memory.data() + at, rng.below(3 * scale + 1)});  // odd places, some empty
    Bytes packed(bytes_of(pieces) + 1, 0xee), want;
    for (const Piece& p : pieces) {
      const auto* from = static_cast<const std::uint8_t*>(p.at);
      want.insert(want.end(), from, from + p.bytes);
    }
    want.push_back(0xee);
    pack(packed.data(), pieces);
    CHECK(packed == want);
    Bytes after = memory;
    for (const Piece& p : pieces) {
      const auto at = static_cast<std::size_t>(static_cast<std::uint8_t*>(p.at) - memory.data());
      for (std::size_t i = 0; i < p.bytes; ++i) after[at + i] = static_cast<std::uint8_t>(memory[at + i] ^ 0x5a);
    }
    for (auto& b : packed) b ^= 0x5a;
    unpack(pieces, packed.data());
    CHECK(memory == after);
  }
}

TEST_CASE("a digest is the one of its definition, also while bytes are copied, whole and to the byte") {
  Rng rng(2);
  for (const std::size_t bytes : kSizes)
    for (const std::size_t shift : {0u, 3u}) {
      CAPTURE(bytes, shift);
      const Bytes from = random_bytes(bytes + shift, rng);
      Bytes to(bytes + 9, 0xee);
      const std::uint64_t want = reference_digest(from.data() + shift, bytes);
      CHECK(digest(from.data() + shift, bytes) == want);
      CHECK(copy_digest(to.data() + 1, from.data() + shift, bytes) == want);
      CHECK(std::equal(from.begin() + static_cast<std::ptrdiff_t>(shift), from.end(), to.begin() + 1));
      CHECK(to[0] == 0xee);
      CHECK(std::count(to.begin() + static_cast<std::ptrdiff_t>(bytes) + 1, to.end(), 0xee) == 8);
    }
}

TEST_CASE("a digest sees one flipped bit, two words that changed places, and zeros at the end") {
  Rng rng(3);
  Bytes bytes = random_bytes(20'000, rng);
  const std::uint64_t was = digest(bytes.data(), bytes.size());
  for (int i = 0; i < 200; ++i) {
    Bytes other = bytes;
    other[rng.below(other.size())] ^= static_cast<std::uint8_t>(1u << rng.below(8));
    CHECK(digest(other.data(), other.size()) != was);
    other = bytes;
    const std::size_t a = rng.below(1250) * 8, b = (a + 8 + rng.below(1000) * 8) % 10'000;
    std::swap_ranges(other.begin() + static_cast<std::ptrdiff_t>(a), other.begin() + static_cast<std::ptrdiff_t>(a) + 8,
                     other.begin() + static_cast<std::ptrdiff_t>(b));
    if (a != b) CHECK(digest(other.data(), other.size()) != was);
  }
  bytes.push_back(0);
  CHECK(digest(bytes.data(), bytes.size()) != was);
  CHECK(digest(bytes.data(), 0) != digest(bytes.data() + bytes.size() - 1, 1));
}

TEST_CASE("zero writes its bytes and no other") {
  for (const std::size_t bytes : kSizes) {
    Bytes memory(bytes + 2, 0xee);
    zero(memory.data() + 1, bytes);
    CHECK(std::count(memory.begin(), memory.end(), 0) == static_cast<std::ptrdiff_t>(bytes));
    CHECK((memory.front() == 0xee && memory.back() == 0xee));
  }
}

TEST_CASE("a division by a count in memory reads it when it runs") {
  std::uint32_t by = 7;
  std::vector<float> data(1001), want(1001);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = want[i] = static_cast<float>(i) * 1.25f;
  by = 3;
  divide_by(DataType::kF32, data.data(), &by, data.size());
  divide(DataType::kF32, want.data(), 3, want.size());
  CHECK(data == want);
  by = 0;
  divide_by(DataType::kF32, data.data(), &by, data.size());
  CHECK(data == want);
}

// Digest and 8-bit codes of every target of this machine against the plain C++, bit for bit: every pattern, in every place of a
// block, with every scale; every count, unaligned; nothing written beside the target.
#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/fence.h"
#include "base/rng.h"
#include "kernels/host/codes.h"
#include "kernels/host/table.h"
#include "kernels/lists.h"

using namespace regroup;
using namespace regroup::kernels;

namespace {

using Bytes = std::vector<std::uint8_t>;
using Halves = std::vector<std::uint16_t>;
using host::Table;

constexpr std::size_t kB = kScaleBlock;
constexpr Code8 kBoth[] = {Code8::kFp8, Code8::kInt8};

const Table& plain() { return host::tables().back(); }

Bytes random_bytes(std::size_t n, Rng& rng) {
  Bytes bytes(n);
  for (auto& b : bytes) b = static_cast<std::uint8_t>(rng.next());
  return bytes;
}

struct Coded {
  Bytes codes, scales;
  bool operator==(const Coded&) const = default;
};

// Of bytes that begin anywhere; what is behind the codes and the scales shows 0xee.
Coded quantised(const Table& t, Code8 code, const std::uint8_t* bf16, std::size_t count, std::size_t shift = 0) {
  Coded out{Bytes(count + shift + 40, 0xee), Bytes(scales_for(count) + 9, 0xee)};
  t.quantise[static_cast<std::size_t>(code)](out.codes.data() + shift, out.scales.data() + 1, bf16, count);
  return out;
}
Coded quantised(const Table& t, Code8 code, const Halves& in) {
  return quantised(t, code, reinterpret_cast<const std::uint8_t*>(in.data()), in.size());
}

std::uint8_t scale_of_magnitude(std::uint16_t m, Code8 code) { return static_cast<std::uint8_t>(host::exponent_for(m, code) + host::kBias); }

// Where two NaN meet, which of them comes out is the compiler's choice.
bool same(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]) && !(std::isnan(a[i]) && std::isnan(b[i]))) return false;
  return a.size() == b.size();
}

void check_dequantise(const Table& t, Code8 code, const Bytes& codes, const Bytes& scales, std::vector<float> sum, std::size_t shift = 0) {
  std::vector<float> want = sum;
  const std::size_t count = codes.size() - shift, at = static_cast<std::size_t>(code);
  plain().dequantise_add[at](want.data() + 1, codes.data() + shift, scales.data(), count);
  t.dequantise_add[at](sum.data() + 1, codes.data() + shift, scales.data(), count);
  if (!same(sum, want)) FAIL(t.name << " code " << at << " count " << count);
}

}  // namespace

TEST_CASE("targets: a digest of every count of words, from anywhere, copied and not, has the bits of the plain one") {
  Rng rng(21);
  const Bytes from = random_bytes(2600, rng);
  for (const Table& t : host::tables())
    for (std::size_t words = 0; words <= 300; ++words)
      for (const std::size_t shift : {0u, 1u, 7u, 8u}) {
        CAPTURE(t.name, words, shift);
        const std::uint64_t first = rng.below(2) * rng.next();
        Bytes want(2600, 0xee), to(2600, 0xee);
        const std::uint64_t sum = plain().digest(want.data() + 3 + shift, from.data() + shift, words, first, false);
        const bool right = t.digest(nullptr, from.data() + shift, words, first, false) == sum &&
                           t.digest(to.data() + 3 + shift, from.data() + shift, words, first, false) == sum && to == want;
        if (!right) FAIL(t.name << " words " << words << " shift " << shift);
        alignas(64) static std::uint8_t line[2600];
        std::memset(line, 0xee, sizeof line);
        const std::uint64_t streamed = t.digest(line, from.data() + shift, words, first, true);
        stream_fence();
        if (streamed != sum || std::memcmp(line, from.data() + shift, words * 8) != 0 || line[words * 8] != 0xee)
          FAIL(t.name << " streamed, words " << words << " shift " << shift);
      }
  SUCCEED();
}

TEST_CASE("targets: large copies with a digest, to any place of a cache line") {
  Rng rng(22);
  const std::size_t bytes = (2u << 20) + 13;
  const Bytes from = random_bytes(bytes + 9, rng);
  Bytes to(bytes + 200);
  for (const std::size_t shift : {0u, 8u, 24u, 56u, 64u, 1u, 12u})
    for (const std::size_t off : {0u, 5u}) {
      CAPTURE(shift, off);
      std::fill(to.begin(), to.end(), 0xee);
      CHECK(copy_digest(to.data() + shift, from.data() + off, bytes) == digest(from.data() + off, bytes));
      CHECK(std::memcmp(to.data() + shift, from.data() + off, bytes) == 0);
      CHECK(std::count(to.begin(), to.begin() + static_cast<std::ptrdiff_t>(shift), 0xee) == static_cast<std::ptrdiff_t>(shift));
      CHECK(std::count(to.begin() + static_cast<std::ptrdiff_t>(shift + bytes), to.end(), 0xee) == static_cast<std::ptrdiff_t>(200 - shift));
    }
}

TEST_CASE("targets: every pattern of bf16 in every place of a block is coded as by the plain one, with every scale there is") {
  for (const Code8 code : kBoth) {
    std::vector<std::uint16_t> most(256);  // of each scale
    for (std::uint16_t m = 0; m < host::kInfinity; ++m) most[scale_of_magnitude(m, code)] = m;
    for (std::size_t s = 0; s < 256; ++s) {
      if (s != 0 && most[s] == 0) continue;
      // Patterns this scale can meet, 31 a block beside the largest, which is first or last; each goes through all places.
      Halves patterns(31, 0);
      for (std::uint32_t p = 0; p < 65536; ++p)
        if ((p & 0x7fff) <= most[s]) patterns.push_back(static_cast<std::uint16_t>(p));
      patterns.resize((patterns.size() + 61) / 31 * 31);
      Bytes want(patterns.size());
      for (std::size_t i = 0; i < patterns.size(); ++i)
        want[i] = host::encode(code, host::divided(std::bit_cast<float>(std::uint32_t{patterns[i]} << 16), static_cast<int>(s) - host::kBias));
      const std::size_t blocks = patterns.size() / 31 - 1;
      Halves in(blocks * kB);
      for (const bool last : {false, true})
        for (std::size_t turn = 0; turn < 31; ++turn) {
          for (std::size_t b = 0; b < blocks; ++b) {
            std::memcpy(&in[b * kB + !last], &patterns[b * 31 + turn], 62);
            in[b * kB + (last ? 31 : 0)] = most[s];
          }
          for (const Table& t : host::tables()) {
            if (&t == &plain()) continue;
            const Coded got = quantised(t, code, in);
            bool right = got.codes[in.size()] == 0xee && got.scales[0] == 0xee && got.scales[blocks + 1] == 0xee;
            for (std::size_t b = 0; b < blocks; ++b)
              right = right && got.scales[b + 1] == s && std::memcmp(&got.codes[b * kB + !last], &want[b * 31 + turn], 31) == 0;
            if (!right) FAIL(t.name << " code " << int(code) << " scale " << s << " turn " << turn);
          }
        }
    }
  }
  SUCCEED();
}

TEST_CASE("targets: every pattern of bf16 as the largest of its block, in every place, has the scale and the code of the plain one") {
  for (const Code8 code : kBoth)
    for (std::size_t place = 0; place < kB; ++place) {
      Halves in(65536 * kB);
      for (std::size_t p = 0; p < 65536; ++p) in[p * kB + place] = static_cast<std::uint16_t>(p);
      const Coded want = quantised(plain(), code, in);
      for (const Table& t : host::tables())
        if (quantised(t, code, in) != want) FAIL(t.name << " code " << int(code) << " place " << place);
    }
  SUCCEED();
}

TEST_CASE("targets: blocks of any bits, of every count, from anywhere, are coded and come back as by the plain one") {
  Rng rng(23);
  for (std::size_t count = 0; count <= 300; ++count)
    for (const Code8 code : kBoth)
      for (const std::size_t shift : {0u, 1u, 3u}) {
        Bytes in = random_bytes(2 * count + shift, rng);
        if (shift != 3)  // else broken blocks are many
          for (std::size_t i = shift + 1; i < in.size(); i += 2) in[i] = static_cast<std::uint8_t>((in[i] & 0x81) | 0x3c);
        const Bytes codes = random_bytes(count + shift, rng), scales = random_bytes(scales_for(count), rng);
        std::vector<float> sum(count + 2);
        for (auto& v : sum) v = static_cast<float>(rng.below(2000)) - 1000;
        const Coded want = quantised(plain(), code, in.data() + shift, count, shift);
        for (const Table& t : host::tables()) {
          if (quantised(t, code, in.data() + shift, count, shift) != want) FAIL(t.name << " count " << count << " shift " << shift);
          check_dequantise(t, code, codes, scales, sum, shift);
        }
      }
  SUCCEED();
}

TEST_CASE("targets: blocks of zeros, of tiny numbers and of none, one now and then between others, are coded as by the plain one") {
  Rng rng(25);
  for (int round = 0; round < 400; ++round) {
    const std::size_t count = 1 + rng.below(5000), odd = 1 + rng.below(40);
    Halves in(count);
    std::uint64_t kind = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (i % kB == 0) kind = rng.below(odd) == 0 ? 1 + rng.below(4) : 0;
      const auto v = static_cast<std::uint16_t>(rng.next());
      constexpr std::uint16_t kinds[][2] = {{0x81ff, 0x3e00}, {0x8000, 0}, {0x87ff, 0}, {0xffff, 0}, {0x807f, 0x7f80}};  // and, or
      in[i] = static_cast<std::uint16_t>((v & kinds[kind][0]) | kinds[kind][1]);
    }
    for (const Code8 code : kBoth) {
      const Coded want = quantised(plain(), code, in);
      for (const Table& t : host::tables())
        if (quantised(t, code, in) != want) FAIL(t.name << " code " << int(code) << " round " << round);
    }
  }
  SUCCEED();
}

TEST_CASE("targets: every code in every place of a block, with every scale, is added as by the plain one, whatever it is added to") {
  Rng rng(24);
  for (const Code8 code : kBoth)
    for (int turn = 0; turn < 32; ++turn) {
      Bytes codes(256 * 256), scales(256 * 8);
      for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::uint8_t>(i + static_cast<std::size_t>(turn));
      for (std::size_t b = 0; b < scales.size(); ++b) scales[b] = static_cast<std::uint8_t>(b / 8);
      std::vector<float> sum(codes.size() + 2);  // of any bits, or so that what is added is all there is
      if (turn % 2 == 1)
        for (auto& v : sum) v = std::bit_cast<float>(static_cast<std::uint32_t>(rng.next()));
      for (const Table& t : host::tables()) check_dequantise(t, code, codes, scales, sum);
    }
  SUCCEED();
}

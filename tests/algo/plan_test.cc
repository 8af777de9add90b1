// Plans, byte by byte: they are carried out in plain loops over strings of bytes, for every member of small views, and
// each output must be what the definition of the op says. No executor, no transport.
#include "runtime/algo/plan.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <vector>

using namespace regroup;
using namespace regroup::algo;

namespace {

constexpr std::uint8_t kPoison = 0xee;
using Bytes = std::vector<std::uint8_t>;

struct Case {
  OpDesc desc;
  std::size_t n = 1, root = 0;
  Spread spread = Spread::kRoot;
  std::vector<std::shared_ptr<Tables>> tables;  // by member; empty: none

  [[nodiscard]] Plan plan(std::size_t self) const {
    Plan plan;
    make_plan({desc, n, self, root, tables.empty() ? nullptr : tables[self].get(), spread}, plan);
    return plan;
  }
};

// Byte k of member i's input. Sums wrap; 37 and 11 are odd, so a wrong place or member shows.
std::uint8_t input(std::size_t i, std::size_t k) {
  return static_cast<std::uint8_t>(1 + 37 * i + 11 * k + k / 256 * 5);
}

struct Made {
  std::vector<Plan> plans;
  std::vector<Bytes> placed, outputs, direct;
};

std::uint8_t piece_byte(const Made& m, const Piece& p, std::size_t k) {
  if (!p.fold) return input(p.from, p.at + k);
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < m.plans.size(); ++i) sum = static_cast<std::uint8_t>(sum + input(i, p.at + k));
  return sum;
}

Made carry_out(const Case& c) {
  Made m;
  for (std::size_t i = 0; i < c.n; ++i) m.plans.push_back(c.plan(i));
  for (const Plan& p : m.plans) {
    Bytes placed;
    for (const Piece& piece : p.place) {
      REQUIRE(piece.to == placed.size());  // one after the other
      for (std::size_t k = 0; k < piece.bytes; ++k) placed.push_back(piece_byte(m, piece, k));
    }
    m.placed.push_back(placed);
  }
  for (std::size_t self = 0; self < c.n; ++self) {
    const Plan& p = m.plans[self];
    REQUIRE(p.takes.size() == c.n);
    REQUIRE(p.gives.size() == c.n);
    REQUIRE(p.placed_bytes[self] == m.placed[self].size());
    Bytes out(p.output_bytes, kPoison), direct(p.output_bytes, kPoison);
    for (std::size_t i = 0; i < c.n; ++i) {
      Take take = p.takes[i];
      const Span give = m.plans[i].gives[self];
      REQUIRE(take.bytes == give.bytes);  // both ends agree on what moves
      if (p.told) take.at = give.at;
      if (take.bytes != 0) REQUIRE(take.at == give.at);
      if (!p.told) REQUIRE(p.placed_bytes[i] == m.placed[i].size());
      REQUIRE(take.at + take.bytes <= m.placed[i].size());
      REQUIRE(take.to + take.bytes <= out.size());
      std::copy_n(m.placed[i].begin() + static_cast<std::ptrdiff_t>(take.at), take.bytes,
                  out.begin() + static_cast<std::ptrdiff_t>(take.to));
      // What member i reads of my input is what it folds or copies of it.
      std::size_t reads = 0;
      for (const Piece& piece : m.plans[i].place)
        if (piece.fold || (piece.from == self && piece.from != i)) {
          CHECK(p.reads[i] == Span{piece.at, piece.bytes});
          reads += piece.bytes;
        }
      if (i != self) CHECK(p.reads[i].bytes == reads);
      if (reads != 0 && i != self) CHECK(p.reads_inputs);
    }
    for (const Piece& piece : p.result) {
      REQUIRE(piece.to + piece.bytes <= direct.size());
      for (std::size_t k = 0; k < piece.bytes; ++k) direct[piece.to + k] = piece_byte(m, piece, k);
    }
    m.outputs.push_back(out);
    m.direct.push_back(direct);
  }
  return m;
}

// By definition.
std::uint8_t folded(const Case& c, std::size_t k) {
  std::uint8_t sum = 0;
  for (std::size_t i = 0; i < c.n; ++i) sum = static_cast<std::uint8_t>(sum + input(i, k));
  return sum;
}

void check_all(const Case& c, const std::function<Bytes(std::size_t)>& want) {
  const Made m = carry_out(c);
  std::size_t largest = 0;
  for (std::size_t self = 0; self < c.n; ++self) {
    CAPTURE(name_of(c.desc.kind), c.n, self, c.root, c.desc.count);
    CHECK(m.outputs[self] == want(self));
    if (!m.plans[self].told) CHECK(m.direct[self] == want(self));
    for (std::size_t i = 0; i < c.n && !m.plans[self].told; ++i)
      CHECK(m.plans[self].inputs[i] == m.plans[i].input_bytes);
    CHECK(m.plans[self].largest_bytes == m.plans[0].largest_bytes);  // small or large: the same at all
    largest = std::max({largest, m.plans[self].input_bytes, m.plans[self].output_bytes});
  }
  CHECK(largest <= m.plans[0].largest_bytes);
}

constexpr std::size_t kCounts[] = {0, 1, 2, 63, 65, 1000, 1287};

Bytes range(std::size_t member, std::size_t at, std::size_t bytes) {
  Bytes b;
  for (std::size_t k = 0; k < bytes; ++k) b.push_back(input(member, at + k));
  return b;
}

}  // namespace

TEST_CASE("ops of equal blocks: every byte of every output comes from its place, for 1 to 9 members and every root") {
  for (std::size_t n = 1; n <= 9; ++n)
    for (const std::size_t count : kCounts)
      for (std::size_t root = 0; root < n; ++root) {
        Case c;
        c.n = n;
        c.root = root;
        c.desc.count = count;
        const auto with = [&](OpKind kind) -> const Case& { return c.desc.kind = kind, c; };
        const auto fold = [&](std::size_t at) {
          Bytes b;
          for (std::size_t k = 0; k < count; ++k) b.push_back(folded(c, at + k));
          return b;
        };
        const auto blocks = [&](auto of) {
          Bytes b;
          for (std::size_t i = 0; i < n; ++i) {
            const Bytes part = of(i);
            b.insert(b.end(), part.begin(), part.end());
          }
          return b;
        };
        check_all(with(OpKind::kReduce), [&](std::size_t self) { return self == root ? fold(0) : Bytes{}; });
        check_all(with(OpKind::kBroadcast),
                  [&](std::size_t self) { return self == root ? Bytes{} : range(root, 0, count); });
        c.spread = Spread::kAll;
        check_all(c, [&](std::size_t self) { return self == root ? Bytes{} : range(root, 0, count); });
        c.spread = Spread::kRoot;
        check_all(with(OpKind::kGather), [&](std::size_t self) {
          return self == root ? blocks([&](std::size_t i) { return range(i, 0, count); }) : Bytes{};
        });
        check_all(with(OpKind::kScatter), [&](std::size_t self) { return range(root, self * count, count); });
        if (root != 0) continue;
        check_all(with(OpKind::kAllReduce), [&](std::size_t) { return fold(0); });
        check_all(with(OpKind::kAllGather),
                  [&](std::size_t) { return blocks([&](std::size_t i) { return range(i, 0, count); }); });
        check_all(with(OpKind::kReduceScatter), [&](std::size_t self) { return fold(self * count); });
        check_all(with(OpKind::kAllToAll), [&](std::size_t self) {
          return blocks([&](std::size_t i) { return range(i, self * count, count); });
        });
        check_all(with(OpKind::kBarrier), [&](std::size_t) { return Bytes{}; });
      }
}

TEST_CASE("v forms: blocks of any size, empty ones and gaps included, land where the tables say") {
  for (std::size_t n = 1; n <= 9; ++n)
    for (std::size_t seed = 0; seed < 6; ++seed) {
      const auto size = [&](std::size_t a, std::size_t b) { return (a * 31 + b * 17 + seed * 7) % 5 * 13; };
      Case c;
      c.n = n;
      auto agreed = std::make_shared<Tables>();
      std::vector<std::size_t> at(n + 1, 0);
      for (std::size_t i = 0; i < n; ++i) agreed->counts.push_back(size(i, 0)), at[i + 1] = at[i] + size(i, 0);
      c.tables.assign(n, agreed);
      c.desc.kind = OpKind::kAllGatherV;
      check_all(c, [&](std::size_t) {
        Bytes b;
        for (std::size_t i = 0; i < n; ++i) {
          const Bytes part = range(i, 0, size(i, 0));
          b.insert(b.end(), part.begin(), part.end());
        }
        return b;
      });
      c.desc.kind = OpKind::kReduceScatterV;
      check_all(c, [&](std::size_t self) {
        Bytes b;
        for (std::size_t k = 0; k < size(self, 0); ++k) b.push_back(folded(c, at[self] + k));
        return b;
      });
      // Told: member a gives size(a, b) to b from a * 3 on with gaps of 2, b puts them with gaps of 1.
      c.desc.kind = OpKind::kAllToAllV;
      c.tables.clear();
      for (std::size_t a = 0; a < n; ++a) {
        auto t = std::make_shared<Tables>();
        std::size_t in = a * 3, out = 0;
        for (std::size_t b = 0; b < n; ++b) {
          t->give.push_back({in, size(a, b)});
          t->take.push_back({out, size(b, a)});
          in += size(a, b) + (seed % 2 != 0 ? 2 : 0);
          out += size(b, a) + 1;
        }
        c.tables.push_back(t);
      }
      check_all(c, [&](std::size_t self) {
        const Span last = c.tables[self]->take[n - 1];
        Bytes b(last.at + last.bytes, kPoison);
        for (std::size_t i = 0; i < n; ++i) {
          const Bytes part = range(i, c.tables[i]->give[self].at, size(i, self));
          std::copy(part.begin(), part.end(), b.begin() + static_cast<std::ptrdiff_t>(c.tables[self]->take[i].at));
        }
        return b;
      });
    }
}

TEST_CASE("tables that do not fit the view are refused, and digests of tables tell them apart") {
  OpDesc desc;
  desc.kind = OpKind::kAllGatherV;
  Tables t;
  t.counts = {1, 2};
  CHECK(fits(desc, &t, 2));
  CHECK_FALSE(fits(desc, &t, 3));
  CHECK_FALSE(fits(desc, nullptr, 2));
  desc.kind = OpKind::kScatterV;
  CHECK_FALSE(fits(desc, &t, 2));
  CHECK(digest_of({1, 2}) != digest_of({2, 1}));
  CHECK(digest_of({0}) != digest_of({0, 0}));
}

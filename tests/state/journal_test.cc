#include "runtime/state/journal.h"

#include <catch2/catch.hpp>
#include <cstring>

using namespace regroup;
using namespace regroup::state;

namespace {

struct Store final : Spill {
  std::vector<std::byte> bytes;
  bool broken = false;
  std::uint64_t end = 0;
  Status write(std::uint64_t offset, std::span<const std::byte> in) override {
    if (broken) return {Code::kSystem, "no space"};
    end = std::max<std::uint64_t>(end, offset + in.size());
    bytes.resize(std::max<std::size_t>(bytes.size(), offset + in.size()));
    std::memcpy(bytes.data() + offset, in.data(), in.size());
    return {};
  }
  Status read(std::uint64_t offset, std::span<std::byte> out) override {
    if (broken || offset + out.size() > bytes.size()) return {Code::kSystem, "cannot read"};
    std::memcpy(out.data(), bytes.data() + offset, out.size());
    return {};
  }
};

Entry entry(OpId op, std::size_t bytes = 100) {
  Entry e;
  e.op = op;
  e.mark = op % 2 == 0;
  e.step = op / 2;
  e.data.assign(bytes, static_cast<std::byte>(op));
  return e;
}

bool intact(const Entry& e) {
  for (std::byte b : e.data)
    if (b != static_cast<std::byte>(e.op)) return false;
  return e.data.size() == 100;
}

}  // namespace

TEST_CASE("results come out as they went in, first from memory, then from the store") {
  Store store;
  Journal journal(350, 10'000, &store);
  journal.clear(10);
  for (OpId op = 11; op <= 40; ++op) REQUIRE(journal.push(entry(op)) == Journal::Push::kOk);
  CHECK(journal.memory() == 300);
  CHECK(journal.spilled() == 2700);
  CHECK(journal.last_mark() == 40);
  OpId expected = 11;
  for (;; ++expected) {
    Result<std::optional<Entry>> e = journal.pop(38);
    REQUIRE(e.ok());
    if (!e->has_value()) break;
    CHECK((*e)->op == expected);
    CHECK(intact(**e));
    if (expected == 20) CHECK(journal.push(entry(41)) == Journal::Push::kOk);  // into memory, behind what is spilled
  }
  CHECK(expected == 39);
  CHECK(journal.taken() == 38);
  for (OpId op = 39; op <= 41; ++op) CHECK(intact(**journal.pop(100)));
  CHECK(journal.spilled() == 0);
  CHECK(journal.memory() == 0);
}

TEST_CASE("the store is used from its beginning again when it is empty") {
  Store store;
  Journal journal(0, 1000, &store);
  for (OpId op = 1; op < 100; ++op) {
    REQUIRE(journal.push(entry(op)) == Journal::Push::kOk);
    REQUIRE(intact(**journal.pop(op)));
  }
  CHECK(store.end == 100);
}

TEST_CASE("a gap, a repetition, a full journal and a store that fails are told, and nothing is lost") {
  Store store;
  Journal journal(200, 300, &store);
  journal.clear(5);
  CHECK(journal.push(entry(5)) == Journal::Push::kKnown);
  CHECK(journal.push(entry(7)) == Journal::Push::kGap);
  for (OpId op = 6; op <= 10; ++op) CHECK(journal.push(entry(op)) == Journal::Push::kOk);
  CHECK(journal.push(entry(8)) == Journal::Push::kKnown);
  CHECK(journal.push(entry(11)) == Journal::Push::kFull);
  CHECK(journal.last() == 10);
  CHECK(intact(**journal.pop(100)));  // frees memory
  CHECK(journal.push(entry(11)) == Journal::Push::kOk);
  store.broken = true;
  CHECK(intact(**journal.pop(100)));
  CHECK_FALSE(journal.pop(100).ok());
  journal.clear(20);
  CHECK(journal.size() == 0);
  CHECK(journal.memory() == 0);
  store.broken = false;
  for (OpId op = 21; op <= 22; ++op) CHECK(journal.push(entry(op)) == Journal::Push::kOk);
  store.broken = true;
  CHECK(journal.push(entry(23)) == Journal::Push::kStore);
  Journal memory_only(200, 1000, nullptr);
  CHECK(memory_only.push(entry(1)) == Journal::Push::kOk);
  CHECK(memory_only.push(entry(2)) == Journal::Push::kOk);
  CHECK(memory_only.push(entry(3)) == Journal::Push::kFull);
}

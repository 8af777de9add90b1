// Ranks on one host device, a thread each: every step of every stream begins late by a drawn delay, so streams overtake
// one another in every way that they may; results, the order on the callers' streams, and what is left when the device
// is lost.
#include "runtime/exec/device_ranks.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <thread>

#include "base/clock.h"
#include "kernels/device/host_device.h"

using namespace regroup;

namespace {

constexpr Duration kBound = Duration::from_s(20);
using Word = std::uint64_t;
constexpr Word kPoison = 0xdeadbeefdeadbeef;

struct One {  // a rank, its caller's stream and buffers
  std::unique_ptr<DeviceRank> rank;
  std::unique_ptr<device::Stream> caller;
  Word *in, *out, *seen;
};

struct Party {
  std::unique_ptr<device::Device> device;
  std::unique_ptr<DeviceBoard> board;
  std::vector<One> all;
  std::size_t words;

  Party(std::size_t n, std::size_t most_words, device::Faults faults, std::size_t chunk_bytes = 4096)
      : device(device::make_host_device(faults)), words(most_words) {
    board = DeviceBoard::make(*device, n).value();
    DeviceRank::Config config;
    config.chunk_bytes = chunk_bytes;
    for (std::size_t r = 0; r < n; ++r) {
      One one;
      one.rank = DeviceRank::make(*device, *board, r, config).value();
      one.caller = device->make_stream().value();
      for (Word** at : {&one.in, &one.out, &one.seen})
        *at = static_cast<Word*>(*device->allocate(device::Memory::kDevice, words * sizeof(Word)));
      all.push_back(std::move(one));
    }
  }
  ~Party() {
    for (One& one : all) {
      one.rank.reset();
      one.caller.reset();
      for (Word* at : {one.in, one.out, one.seen}) device->free(device::Memory::kDevice, at);
    }
  }
  template <class Body>
  std::vector<std::string> each(Body body) {
    std::vector<std::string> wrong(all.size());
    std::vector<std::thread> threads;
    for (std::size_t r = 0; r < all.size(); ++r) threads.emplace_back([&, r] { wrong[r] = body(all[r], r); });
    for (std::thread& t : threads) t.join();
    return wrong;
  }
  // Until all are prepared. Empty, or the error.
  std::string drive(One& one) {
    for (const Instant until = now() + kBound; now() < until; std::this_thread::yield()) {
      const Result<bool> mine = one.rank->turn();
      if (!mine) return mine.error().detail;
      if (*mine && one.rank->prepared_by_all()) return {};
    }
    return "not within the bound";
  }
};

Word value(std::uint32_t op, std::size_t rank, std::size_t i) { return ((op * 7 + i) % 15 + 1) << (4 * rank); }

// What the caller's stream does before and after the op: both as kernels, so nothing is here when the op is started.
struct Make {
  std::uint32_t op;
  std::size_t rank, words;
  Word *in, *out;
};
void make_input(const void* arguments) {
  const auto& m = *static_cast<const Make*>(arguments);
  for (std::size_t i = 0; i < m.words; ++i) m.in[i] = value(m.op, m.rank, i);
  if (m.in != m.out) std::fill(m.out, m.out + m.words, kPoison);
}

OpDesc desc_of(OpKind kind, std::size_t count) {
  OpDesc desc;
  desc.kind = kind;
  desc.type = DataType::kU64;
  desc.count = count;
  return desc;
}

// What rank r must find at i of its output.
Word wanted(OpKind kind, std::uint32_t op, std::size_t n, std::size_t r, std::size_t count, std::size_t root,
            std::size_t i) {
  Word sum = 0;
  switch (kind) {
    case OpKind::kAllReduce:
      for (std::size_t m = 0; m < n; ++m) sum += value(op, m, i);
      return sum;
    case OpKind::kReduceScatter:
      for (std::size_t m = 0; m < n; ++m) sum += value(op, m, r * count + i);
      return sum;
    case OpKind::kAllGather: return value(op, i / count, i % count);
    default: return value(op, root, i);
  }
}

}  // namespace

TEST_CASE("collectives on device buffers have the right bits, however late and reordered steps are") {
  const std::size_t n = GENERATE(1, 2, 3, 5);
  const std::uint64_t seed = GENERATE(0, 1, 2);
  device::Faults faults;
  faults.seed = seed;
  if (seed != 0) faults.late = Duration::from_us(300);
  Party party(n, 16'000, faults);
  const OpKind kinds[] = {OpKind::kAllReduce, OpKind::kReduceScatter, OpKind::kAllGather, OpKind::kBroadcast};
  const auto wrong = party.each([&](One& one, std::size_t r) -> std::string {
    for (std::uint32_t op = 1; op <= 16; ++op) {
      const OpKind kind = kinds[op % 4];
      const std::size_t counts[] = {1, 700, 2999, 0};
      const std::size_t count = counts[op / 4 % 4], root = op % n;
      const bool in_place = kind == OpKind::kBroadcast || (kind == OpKind::kAllReduce && op > 8);
      Word* out = in_place ? one.in : one.out;
      const Make make{op, r, 16'000, one.in, out};
      if (!one.caller->launch(device::Launch::of(make_input, make)).ok()) return "launch";
      if (Status s = one.rank->start(op, desc_of(kind, count), root, one.in, out, *one.caller); !s)
        return s.error().detail;
      if (!one.caller->copy(one.seen, out, 16'000 * sizeof(Word)).ok())
        return "copy";  // behind the op, on the same stream
      if (std::string w = party.drive(one); !w.empty()) return w;
      one.rank->settle(true);
      if (Status s = one.caller->finish(now() + kBound); !s) return s.error().detail;
      const std::size_t words = count * (kind == OpKind::kAllGather ? n : 1);
      for (std::size_t i = 0; i < words; ++i)
        if (one.seen[i] != wanted(kind, op, n, r, count, root, i))
          return std::string(name_of(kind)) + " op " + std::to_string(op) + " element " + std::to_string(i);
      for (std::size_t i = words; i < 16'000 && !in_place; ++i)
        if (one.seen[i] != kPoison) return "written behind its end";
    }
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("a caller's stream stands until the op is settled, and without a commit its output is as it was") {
  Party party(2, 3000, {});
  const bool commit = GENERATE(true, false);
  const auto wrong = party.each([&](One& one, std::size_t r) -> std::string {
    const Make make{1, r, 3000, one.in, one.out};
    if (!one.caller->launch(device::Launch::of(make_input, make)).ok()) return "launch";
    if (!one.rank->start(1, desc_of(OpKind::kAllReduce, 3000), 0, one.in, one.out, *one.caller).ok()) return "start";
    if (std::string w = party.drive(one); !w.empty()) return w;
    if (one.caller->finish(now() + Duration::from_ms(50)).code() != Code::kTimeout)
      return "the stream went on before the op was settled";
    if (one.out[0] != kPoison) return "the output was written before the op was settled";
    one.rank->settle(commit);
    if (!one.caller->finish(now() + kBound).ok()) return "the stream stands";
    if (commit != (one.out[2999] == wanted(OpKind::kAllReduce, 1, 2, r, 3000, 0, 2999))) return "the output";
    if (!commit && one.out[0] != kPoison) return "the output was written without a commit";
    const Status next = one.rank->start(2, desc_of(OpKind::kAllReduce, 10), 0, one.in, one.out, *one.caller);
    if (!commit && next.code() != Code::kClosed) return "an op after one that was not committed";
    return {};
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("a device that is lost at any step ends the op at every rank, and no output holds a part of a result") {
  for (std::uint64_t fail_at = 1; fail_at <= 40; fail_at += 3) {
    CAPTURE(fail_at);
    device::Faults faults;
    faults.fail_at = fail_at;
    Party party(3, 3000, faults);
    for (One& one : party.all) std::fill(one.out, one.out + 3000, kPoison);
    const auto wrong = party.each([&](One& one, std::size_t r) -> std::string {
      const Make make{1, r, 3000, one.in, one.seen};
      Status s = one.caller->launch(device::Launch::of(make_input, make));
      if (s) s = one.rank->start(1, desc_of(OpKind::kAllReduce, 3000), 0, one.in, one.out, *one.caller);
      const std::string why = s ? party.drive(one) : s.error().detail;
      if (!why.empty()) return why.find("lost") != std::string::npos ? "" : why;
      one.rank->settle(true);
      s = one.caller->finish(now() + kBound);
      return s || s.error().detail.find("lost") != std::string::npos ? "" : s.error().detail;
    });
    for (const std::string& w : wrong) CHECK(w == "");
    for (std::size_t r = 0; r < 3; ++r) {
      const Word* out = party.all[r].out;
      const bool whole = out[0] != kPoison;
      for (std::size_t i = 0; i < 3000; ++i)
        REQUIRE(out[i] == (whole ? wanted(OpKind::kAllReduce, 1, 3, r, 3000, 0, i) : kPoison));
    }
  }
}

TEST_CASE("buffers that are not of the device, and ops that it does not take, are refused by name") {
  Party party(1, 100, {});
  One& one = party.all[0];
  Word mine[4] = {};
  const Status in = one.rank->start(1, desc_of(OpKind::kAllReduce, 4), 0, mine, one.out, *one.caller);
  CHECK(in.code() == Code::kInvalid);
  CHECK(in.error().detail == "the input is no memory of host");
  CHECK(one.rank->start(1, desc_of(OpKind::kAllReduce, 4), 0, one.in, mine, *one.caller).error().detail ==
        "the output is no memory of host");
  CHECK(one.rank->start(1, desc_of(OpKind::kAllToAllV, 4), 0, one.in, one.out, *one.caller).code() ==
        Code::kUnsupported);
}

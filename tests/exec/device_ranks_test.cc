// Ranks on one host device, a thread each: every step of every stream begins late by a drawn delay, so streams overtake
// one another in every way that they may; results, jobs that are given up, and a device that is lost.
#include "runtime/exec/device_ranks.h"

#include <algorithm>
#include <barrier>
#include <catch2/catch.hpp>
#include <deque>
#include <thread>

#include "base/clock.h"
#include "kernels/device/host_device.h"

using namespace regroup;

namespace {

constexpr Duration kBound = Duration::from_s(20);
using Word = std::uint64_t;
constexpr Word kPoison = 0xdeadbeefdeadbeef;

constexpr Epoch kEpoch = 7;

struct One {  // a rank, and its buffers: `result` is what a stage would hold
  std::unique_ptr<DeviceRank> rank;
  Word *in, *result;
  algo::Plan plan;
  std::atomic<shm::Tag> placed{0};
};

struct Party {
  std::shared_ptr<device::Device> device;
  std::deque<One> all;
  std::size_t words;
  std::barrier<> line;
  std::vector<const std::byte*> scratch;

  Party(std::size_t n, std::size_t most_words, device::Faults faults, std::size_t chunk_bytes = 4096)
      : device(device::make_host_device(faults)), all(n), words(most_words), line(static_cast<std::ptrdiff_t>(n)), scratch(n) {
    DeviceRank::Config config;
    config.chunk_bytes = chunk_bytes;
    config.ahead = 2;
    for (One& one : all) {
      one.rank = DeviceRank::make(device, config).value();
      for (Word** at : {&one.in, &one.result})
        *at = static_cast<Word*>(*device->allocate(device::Memory::kDevice, words * sizeof(Word)));
    }
  }
  ~Party() {
    for (One& one : all) {
      one.rank.reset();
      for (Word* at : {one.in, one.result}) device->free(device::Memory::kDevice, at);
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
  // As DevicePlane does it: all have said where their memory lies before anybody begins.
  std::string start(std::size_t r, const OpDesc& desc, std::size_t root, Epoch epoch = kEpoch) {
    One& one = all[r];
    algo::make_plan({desc, all.size(), r, root, nullptr, algo::Spread::kRoot, nullptr}, one.plan);
    const Result<std::byte*> mine = one.rank->reserve(one.plan.placed_bytes[r]);
    scratch[r] = mine ? *mine : nullptr;
    one.placed.store(0);
    line.arrive_and_wait();
    DeviceRank::Job job;
    job.desc = desc;
    job.plan = &one.plan;
    job.self = r;
    job.epoch = epoch;
    for (std::size_t i = 0; i < all.size(); ++i)
      job.peers.push_back({reinterpret_cast<const std::byte*>(all[i].in), scratch[i], &all[i].placed});
    job.placed = &one.placed;
    job.result = reinterpret_cast<std::byte*>(one.result);
    if (mine) one.rank->start(std::move(job));
    return mine ? "" : mine.error().detail;
  }
  // Until my result stands. Empty, or the error.
  static std::string drive(One& one) {
    for (const Instant until = now() + kBound; now() < until; std::this_thread::yield()) {
      const Result<bool> mine = one.rank->turn();
      if (!mine) return mine.error().detail;
      if (*mine) return {};
    }
    return "not within the bound";
  }
};

Word value(std::uint32_t op, std::size_t rank, std::size_t i) { return ((op * 7 + i) % 15 + 1) << (4 * rank); }

void put_input(One& one, std::uint32_t op, std::size_t rank, std::size_t words) {
  for (std::size_t i = 0; i < words; ++i) one.in[i] = value(op, rank, i);
  std::fill(one.result, one.result + words, kPoison);
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
    std::string found;
    for (std::uint32_t op = 1; op <= 16; ++op) {
      const OpKind kind = kinds[op % 4];
      const std::size_t counts[] = {1, 700, 2999, 0};
      const std::size_t count = counts[op / 4 % 4], root = op % n;
      put_input(one, op, r, 16'000);
      found += party.start(r, desc_of(kind, count), root);
      found += Party::drive(one);
      const std::size_t words = kind == OpKind::kBroadcast && root == r ? 0 : count * (kind == OpKind::kAllGather ? n : 1);
      for (std::size_t i = 0; i < words && found.empty(); ++i)
        if (one.result[i] != wanted(kind, op, n, r, count, root, i))
          found = std::string(name_of(kind)) + " op " + std::to_string(op) + " element " + std::to_string(i);
      for (std::size_t i = words; i < 16'000 && found.empty(); ++i)
        if (one.result[i] != kPoison) found = "written behind its end";
      party.line.arrive_and_wait();  // all are prepared: inputs are their owners' again
    }
    return found;
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("a job that was given up leaves nothing in the next one, at whatever step it was given up") {
  const std::uint64_t seed = GENERATE(1, 2, 3);
  device::Faults faults;
  faults.seed = seed;
  faults.late = Duration::from_us(300);
  Party party(3, 6'000, faults);
  const auto wrong = party.each([&](One& one, std::size_t r) -> std::string {
    std::string found;
    for (std::uint32_t op = 1; op <= 20; ++op) {
      const Epoch epoch = kEpoch + op;
      put_input(one, op, r, 6'000);
      found += party.start(r, desc_of(OpKind::kAllReduce, 6'000), 0, epoch);
      for (std::uint32_t turns = (op + static_cast<std::uint32_t>(r)) % 7; turns > 0; --turns) (void)one.rank->turn().ok();
      party.line.arrive_and_wait();
      // A view change: one epoch on, the same op once more; of who gave up late, steps are still queued.
      found += party.start(r, desc_of(OpKind::kAllReduce, 6'000), 0, epoch + 100);
      found += Party::drive(one);
      for (std::size_t i = 0; i < 6'000 && found.empty(); ++i)
        if (one.result[i] != wanted(OpKind::kAllReduce, op, 3, r, 6'000, 0, i)) found = "op " + std::to_string(op) + " element " + std::to_string(i);
      party.line.arrive_and_wait();
    }
    return found;
  });
  for (const std::string& w : wrong) CHECK(w == "");
}

TEST_CASE("what a member has placed in a later epoch is nothing of mine") {
  Party party(2, 3'000, {});
  One &mine = party.all[0], &ahead = party.all[1];
  put_input(mine, 1, 0, 3'000), put_input(ahead, 1, 1, 3'000);
  std::thread other([&] { party.start(1, desc_of(OpKind::kAllReduce, 3'000), 0); });
  const std::string begun = party.start(0, desc_of(OpKind::kAllReduce, 3'000), 0);
  other.join();
  REQUIRE(begun == "");
  const auto done_within = [&](Duration time) {
    const Instant until = now() + time;
    while (now() < until)
      if (*mine.rank->turn()) return true;
    return false;
  };
  ahead.placed.store(shm::make_tag(kEpoch + 1, 100));
  CHECK_FALSE(done_within(Duration::from_ms(30)));
  CHECK(Party::drive(ahead).find("not within") == std::string::npos);  // it says how much in our epoch, and is done
  CHECK(done_within(kBound));
}

TEST_CASE("a device that is lost at any step ends the job at every rank") {
  for (std::uint64_t fail_at = 1; fail_at <= 40; fail_at += 3) {
    CAPTURE(fail_at);
    device::Faults faults;
    faults.fail_at = fail_at;
    Party party(3, 3000, faults);
    const auto wrong = party.each([&](One& one, std::size_t r) -> std::string {
      put_input(one, 1, r, 3000);
      std::string why = party.start(r, desc_of(OpKind::kAllReduce, 3000), 0);
      if (why.empty()) why = Party::drive(one);
      if (!why.empty()) return why.find("lost") != std::string::npos ? "" : why;
      for (std::size_t i = 0; i < 3000; ++i)
        if (one.result[i] != wanted(OpKind::kAllReduce, 1, 3, r, 3000, 0, i)) return "a part of a result";
      return "";
    });
    for (const std::string& w : wrong) CHECK(w == "");
  }
}

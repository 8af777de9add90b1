// Buffers on a device where something goes wrong: too little pinned memory, an eviction. No stream waits for ever, and what was
// not committed touches nothing.
#include <array>
#include <atomic>

#include "tests/conformance/device_side.h"
#include "tests/conformance/evict.h"

using namespace regroup;
using namespace regroup::conformance;

namespace {

constexpr DataType kType = DataType::kU64;

}  // namespace

TEST_CASE("too little pinned memory at one member: the op fails at all, a message at its caller, and the next op is as ever") {
  if (named_device() != nullptr) return;  // it has enough
  const std::string transport = GENERATE(from_range(transports()));
  CAPTURE(transport);
  World world(transport, 3, [](int rank, Options& o) { o.device = rank == 1 ? "host,most_pinned=65536" : "host"; });
  at_every_rank(world, [&](Group& group, int rank) -> std::string {
    const std::size_t most = 65536 / 8, small = 1'000;
    Side side(group, most);
    void *in = *side.device->allocate(device::Memory::kDevice, most * 16), *out = *side.device->allocate(device::Memory::kDevice, most * 16);
    const auto large = [&]() -> std::string {
      const std::vector<std::uint64_t> poison(most, kPoison);
      if (side.put(poison) != "") return "put";
      for (std::size_t half = 0; half < 2; ++half)
        if (!side.stream->copy(static_cast<std::uint64_t*>(out) + half * most, side.in, most * 8)) return "copy";
      if (const Code code = group.all_reduce(in, out, 2 * most, kType, ReduceOp::kSum, side.options()).code(); code != Code::kNoMemory)
        return std::string("not kNoMemory: ") + code_name(code);
      if (!side.stream->copy(side.out, out, most * 8) || !untouched(side.fetched())) return "touched";
      if (rank != 1) return "";
      const Code sent = group.send(in, 2 * most, kType, {0, 0}, side.options()).code();
      return sent == Code::kNoMemory ? "" : std::string("a message: ") + code_name(sent);
    };
    std::string wrong = large();
    if (wrong.empty()) wrong = side.put(rank, 2);
    if (wrong.empty()) {
      const Result<Outcome> next = group.all_reduce(side.in, side.out, small, kType, ReduceOp::kSum, side.options());
      std::vector<std::uint64_t> got = side.fetched();
      got.resize(small);
      wrong = next ? wrong_sum(*next, got, 2) : next.error().detail;
    }
    side.device->free(device::Memory::kDevice, in), side.device->free(device::Memory::kDevice, out);
    return wrong;
  });
}

TEST_CASE("the restoring of an evicted member's state may wait for its streams, which go on without the results of its ops") {
  const std::string transport = GENERATE(from_range(transports()));
  const bool message = GENERATE(false, true);
  CAPTURE(transport, message);
  std::array<std::uint64_t, 3> state{};
  std::atomic<bool> restoring{false}, again{false}, streams_end{true};
  std::atomic<device::Stream*> stream{nullptr};
  World world(transport, 3, [&](int rank, Options& o) {
    with_device()(rank, o);
    o.state = {{"word", &state[static_cast<std::size_t>(rank)], 8}};
    if (rank != 2) return;
    o.on_restored = [&] {
      if (stream == nullptr) return;  // founding
      restoring = true;
      (void)eventually([&] { return again.load(); }, 5);
      streams_end = stream.load()->finish(now() + Duration::from_s(5)).ok();
    };
  });
  REQUIRE(world.start() == "");
  const Epoch before = world.at(2).view().epoch;
  const auto step = [](Group& group, Side& side, int rank) -> std::string {
    if (std::string wrong = side.put(rank, 7); !wrong.empty()) return wrong;
    const Result<Outcome> got = group.all_reduce(side.in, side.out, side.count, kType, ReduceOp::kSum, side.options());
    if (!got) return got.error().detail;
    if (std::string wrong = wrong_sum(*got, side.fetched(), 7); !wrong.empty()) return wrong;
    return std::to_string(got->contributors()) + " of 3";
  };
  std::atomic<bool> over{false};
  const auto results = World::each(world.ranks(), [&](int rank) -> std::string {
    Group& group = world.at(rank);
    Side side(group, 900);
    if (rank != 2) {  // without it, until it is back
      if (!eventually([&] { return group.view().epoch > before; })) return "nobody was evicted";
      std::string got = "2 of 3";
      while (got == "2 of 3" && !over) got = step(group, side, rank);
      return got;
    }
    stream = side.stream.get();
    const auto submit = [&] {
      if (message) return group.recv_async(side.out, side.count, kType, {0, 0}, side.options());
      return group.all_reduce_async(side.in, side.out, side.count, kType, ReduceOp::kSum, side.options());
    };
    const auto come_back = [&]() -> std::string {
      if (side.put(rank, 6) != "") return "put";
      Work first = submit();
      if (!evict(world, 2)) return "not evicted";
      if (!eventually([&] { return restoring.load(); })) return "not restored";
      Work second = submit();
      again = true;
      if (first.wait().code() != Code::kEvicted || second.wait().code() != Code::kEvicted) return "not kEvicted";
      if (const auto got = side.fetched(); got.size() != side.count || !untouched(got)) return "touched";
      return step(group, side, rank);
    };
    std::string got = come_back();
    over = true;
    stream = nullptr;
    return got;
  });
  CHECK(results == std::vector<std::string>(3, "3 of 3"));
  CHECK(streams_end);
}

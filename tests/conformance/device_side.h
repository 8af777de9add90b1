// A member's side of tests with buffers on a device: the host device, whose steps are late, or the one that REGROUP_TEST_DEVICE
// names (`make gpu-test PART=plans`).
#pragma once

#include <array>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "kernels/device/host_device.h"
#include "tests/conformance/payload.h"
#include "tests/conformance/world.h"

namespace regroup::conformance {

inline constexpr const char* kLate = "host,late_us=400,seed=";

inline constexpr Duration kBound = Duration::from_s(20);

// A member's stream, and buffers of u64 there and in pinned memory.
struct Side {
  std::shared_ptr<device::Device> device;
  std::unique_ptr<device::Stream> stream;
  std::size_t count;
  std::uint64_t *in, *out, *given, *got;  // in, out: on the device
  Side(Group& group, std::size_t n) : device(group.device()), stream(device->make_stream().value()), count(n) {
    in = memory(device::Memory::kDevice), out = memory(device::Memory::kDevice);
    given = memory(device::Memory::kPinned), got = memory(device::Memory::kPinned);
  }
  ~Side() {
    stream.reset();
    for (auto* at : {in, out}) device->free(device::Memory::kDevice, at);
    for (auto* at : {given, got}) device->free(device::Memory::kPinned, at);
  }
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;
  std::uint64_t* memory(device::Memory kind) { return static_cast<std::uint64_t*>(*device->allocate(kind, count * 8)); }
  OpOptions options() const {
    OpOptions o;
    o.stream = stream->native();
    return o;
  }
  // By the stream: the input, and a poisoned output.
  std::string put(const std::vector<std::uint64_t>& input) {
    if (!stream->finish(now() + kBound)) return "the stream does not end";
    std::fill(got, got + count, kPoison);
    std::memcpy(given, input.data(), count * 8);
    return stream->copy(out, got, count * 8).ok() && stream->copy(in, given, count * 8).ok() ? "" : "copy";
  }
  std::string put(int rank, OpId op) {
    std::vector<std::uint64_t> payload(count);
    fill(payload, rank, op);
    return put(payload);
  }
  std::vector<std::uint64_t> fetched() {  // what a step behind the op sees
    if (!stream->copy(got, out, count * 8) || !stream->finish(now() + kBound)) return {};
    return {got, got + count};
  }
};

inline const char* named_device() { return std::getenv("REGROUP_TEST_DEVICE"); }

inline World::Tweak with_device() {
  return [](int rank, Options& o) { o.device = named_device() != nullptr ? named_device() : kLate + std::to_string(rank); };
}

// Three all-reduces launched as one, the first of number `op`; `between`: done when they are launched; `plan`: by which each is
// to be done, if that matters. Empty, or what is wrong.
template <class Between>
std::string launched_as_one(Group& group, int rank, OpId op, std::array<Side*, 3> sides, Between between, const char* plan = nullptr) {
  for (std::size_t i = 0; i < 3; ++i)
    if (std::string wrong = sides[i]->put(rank, op + i); !wrong.empty()) return wrong;
  (void)group.group_start().ok();
  std::vector<Work> works;
  for (Side* side : sides)
    works.push_back(group.all_reduce_async(side->in, side->out, side->count, DataType::kU64, ReduceOp::kSum, side->options()));
  (void)group.group_end().ok();
  if (std::string wrong = between(); !wrong.empty()) return wrong;
  for (std::size_t i = 0; i < 3; ++i) {
    const Result<Outcome> outcome = works[i].wait();
    if (!outcome) return outcome.error().detail;
    if (plan != nullptr && outcome->plan != std::string(plan)) return std::string("done by ") + outcome->plan;
    if (std::string wrong = wrong_sum(*outcome, sides[i]->fetched(), op + i); !wrong.empty()) return wrong;
  }
  return "";
}

// Starts the world; nobody may have anything to say against what they saw.
template <class Body>
void at_every_rank(World& world, Body body) {
  REQUIRE(world.start() == "");
  for (const std::string& said : World::each(world.ranks(), [&](int rank) { return body(world.at(rank), rank); })) CHECK(said == "");
}

}  // namespace regroup::conformance

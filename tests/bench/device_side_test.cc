// Buffers on a device: what is filled here stands there only after a put, and a call ends when its stream has seen the result.
#include "bench/device_side.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <cstring>

#include "bench/buffers.h"
#include "bench/calls.h"
#include "bench/roofline.h"
#include "kernels/device/host_device.h"

using namespace regroup;
using namespace regroup::bench;

namespace {

std::unique_ptr<DeviceSide> late_side() {
  return DeviceSide::make(device::make_host_device({.seed = 1, .late = Duration::from_ms(20)}), 20).value();
}

std::atomic<int> steps_seen{0};

// An op that is committed while the stream still has a step of it to do.
Result<Outcome> queue_a_step(const Call& call) {
  if (Status s = call.side->stream().call([] { ++steps_seen; }); !s.ok()) return s.error();
  Outcome out;
  out.view = std::make_shared<const ViewInfo>(*call.view);
  return out;
}

}  // namespace

TEST_CASE("what is put stands there, what is fetched stands here, and nothing else moves") {
  const auto side = late_side();
  auto* const there = static_cast<char*>(side->allocate(64).value());
  auto* const here = static_cast<char*>(side->here(there));
  REQUIRE(here != there);
  CHECK(side->here(there + 63) == here + 63);
  CHECK(side->here(there + 64) == nullptr);
  std::memset(here, 'a', 64);
  REQUIRE(side->put(there + 8, 8).ok());
  std::memset(here, 'b', 64);
  REQUIRE(side->fetch(there, 16).ok());
  CHECK(std::string(here, 8) == std::string(8, '\0'));
  CHECK(std::string(here + 8, 8) == "aaaaaaaa");
  CHECK(std::string(here + 16, 4) == "bbbb");
  CHECK(side->put(there, 0).ok());
}

TEST_CASE("a blocking call on a device ends when its stream has seen the result") {
  const auto side = late_side();
  const ViewInfo view{};
  Call call;
  call.side = side.get();
  call.view = &view;
  Collective collective = *find_collective("all_reduce");
  collective.run = queue_a_step;
  Calls calls(collective, CallMode{});
  for (int n = 1; n <= 5; ++n) {
    steps_seen = 0;
    REQUIRE(calls.run(call, n, nullptr).ok());
    CHECK(steps_seen == n);
  }
}

TEST_CASE("without a device there is no such side") {
  CHECK(DeviceSide::make(nullptr, 1).code() == Code::kConfig);
}

TEST_CASE("shares of the traffic are bytes over the copy's rate and the op's time") {
  // 4 ranks, 1 GB each: 8, 9 and 13 GB; in 0.1 s at 200 GB/s 20 GB could have moved.
  const auto shares = traffic_shares(200, 4, 1'000'000'000, 100'000);
  CHECK(shares[0] == Approx(0.40));
  CHECK(shares[1] == Approx(0.45));
  CHECK(shares[2] == Approx(0.65));
  CHECK(traffic_shares(0, 4, 1000, 10)[0] == 0);
  CHECK(traffic_shares(200, 4, 1000, 0)[0] == 0);
  CHECK(traffic_text(200, 4, 1'000'000'000, 0, 100'000) == "copy 200.0 GB/s; in place 2NS 40.0 %, (2N+1)S 45.0 %, (3N+1)S 65.0 %");
}

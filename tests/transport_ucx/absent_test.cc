// A build without UCX says so.
#include <catch2/catch.hpp>

#include "transport/ucx/ucx.h"

TEST_CASE("without UCX the transport is refused with a reason") {
  const auto lanes = regroup::ucx::open_lanes(1, "127.0.0.1");
  REQUIRE_FALSE(lanes.ok());
  CHECK(lanes.code() == regroup::Code::kUnsupported);
  CHECK(lanes.error().detail.find("built without UCX") != std::string::npos);
}
